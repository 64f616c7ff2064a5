/* SPDX-License-Identifier: MIT */
#include "io/procfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void
procfs_usage(pid_t pid, struct procfs_usage *ret)
{
	char path[48], text[1024];
	unsigned long utime, stime;
	long cutime, cstime, rss;
	const char *p;
	ssize_t n;
	int fd;

	*ret = (struct procfs_usage){.rss_bytes = -1, .cpu_ms = -1};
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return;
	text[n] = 0;
	/* The second field is the program's name, which may hold anything: the
	 * rest is counted from its last parenthesis. */
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1,
			 " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld"
			 " %*d %*d %*d %*d %*u %*u %ld",
			 &utime, &stime, &cutime, &cstime, &rss) != 5)
		return;
	ret->rss_bytes = (int64_t)rss * sysconf(_SC_PAGESIZE);
	ret->cpu_ms =
		((int64_t)utime + (int64_t)stime + cutime + cstime) * 1000 / sysconf(_SC_CLK_TCK);
}

int64_t
procfs_own_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	const struct dirent *e;
	int64_t n = -1; /* the one of the directory itself is no more when it is told */

	if (!d)
		return -1;
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}
