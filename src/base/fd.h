/* SPDX-License-Identifier: MIT */
/*
 * fd - small helpers for descriptors. Floor 0.
 */
#pragma once

/* Close *fd if it is one and set it to -1; errno is kept. */
void fd_close(int *fd);

/* 0 or -errno. */
int fd_set_nonblock(int fd);

/* Duplicate take_fd to a number of at least 10, close-on-exec, and close
 * take_fd, so that it cannot collide with the low numbers that a child gets.
 * Returns the new number, or -errno (take_fd is closed then too). */
int fd_raise(int take_fd);
