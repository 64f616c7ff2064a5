/* SPDX-License-Identifier: MIT */
/*
 * ctl - what the verbs of preforkctl share.
 *
 * One struct ctl lives in main(); verbs borrow it. A verb returns the exit
 * status; whoever returns another one than 0 has said why on standard error.
 */
#pragma once

#include "base/buf.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ctl_status {
	STATUS_OK = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 64,	/* EX_USAGE */
	STATUS_PAYLOAD = 65,	/* EX_DATAERR */
	STATUS_NO_DAEMON = 69,	/* EX_UNAVAILABLE */
	STATUS_CRASHED = 70,	/* EX_SOFTWARE */
	STATUS_OS = 71,		/* EX_OSERR */
	STATUS_LATER = 75,	/* EX_TEMPFAIL */
	STATUS_PERMISSION = 77, /* EX_NOPERM */
	STATUS_CONFIG = 78,	/* EX_CONFIG */
	STATUS_TIMEOUT = 124,	/* as timeout(1) */
};

struct ctl {
	const char *socket;   /* -s; NULL: looked for */
	const char *instance; /* -i; NULL: preforkd.service itself */
	const char *path;     /* the socket that was connected to or tried */
	redisContext *redis;
	bool own_daemon; /* a private one: whoever started it says what became of it */
	int patience_ms; /* for connecting and for each reply; 0: as long as it takes */
	bool json;
	bool terminal; /* standard output is one */
	bool colour;
	char **argv;	   /* main()'s */
	int columns, rows; /* of the terminal; 0: no limit */
};

/* Dies with a message when there is no memory: a client has nothing to save. */
void *ctl_realloc(void *ptr, size_t n);

/* text_escape() into as much as it takes; malloc'ed. */
char *ctl_escape(const char *data, size_t len);

/* "preforkctl: …" to standard error. */
void ctl_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What is to be called before each message, to make room for it on the screen. */
void ctl_before_message(void (*call)(void));

/* The second line of a message: what to do about it. */
void ctl_hint(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Both go to the end of *to from now on, and not to standard error. */
void ctl_messages_to(struct buf *to);

/* The first of the messages that went there, without the program's name; "": none. */
void ctl_first_message(const struct buf *from, char *dst, size_t cap);

/* --- connect.c --- */

/* The socket to use: by the options, or the first of the usual places. The result
 * is the option itself, the environment's string or a static one. */
const char *ctl_socket_path(const struct ctl *ctl);

/* A connected, blocking, close-on-exec socket in *ret_fd, or an exit status. */
int ctl_open(struct ctl *ctl, int *ret_fd);

/* --- command.c --- */

/* A command under construction. The words are borrowed. */
struct command {
	const char **argv;
	size_t *len;
	int count, cap;
};

void command_add(struct command *c, const char *word);
void command_add_bytes(struct command *c, const char *data, size_t len);
void command_free(struct command *c);

/* A command of n words as it is sent. */
void command_put(struct buf *b, const char *const *words, int n);

/* Connect where that has not happened. An exit status. */
int ctl_connect(struct ctl *ctl);

/* Say that the connection broke, and how; an exit status. */
int ctl_report_broken(const struct ctl *ctl);

/* Send c (and free it), wait for the reply. Connects first where that has not
 * happened. 0 and *ret_reply, never an error reply, which the caller frees; or
 * an exit status, when the reason has been printed. */
int ctl_call(struct ctl *ctl, struct command *c, redisReply **ret_reply);

/* The same for a command of n words. */
int ctl_call_words(struct ctl *ctl, const char *const *words, int n, redisReply **ret_reply);

/* Send what b holds, whole commands as they are sent, and take the reply to each;
 * an error reply is one too, and the caller frees it. An exit status. */
int ctl_send(struct ctl *ctl, const struct buf *b);
int ctl_flush(struct ctl *ctl); /* that it is sent now, whenever the replies are read */
/* Print an error reply, and what to do; an exit status. No reply may be owed. */
int ctl_report(struct ctl *ctl, const redisReply *error, const char *subject);
int ctl_receive(struct ctl *ctl, redisReply **ret_reply);

/* Wait until the daemon closes the connection. */
int ctl_wait_closed(struct ctl *ctl);
