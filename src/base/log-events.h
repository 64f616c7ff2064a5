/* SPDX-License-Identifier: MIT */
/*
 * log-events - what happens that matters: a name that lines can be found by.
 *
 * Floor 0. X(NAME, word, MESSAGE_ID): LOG_EVENT_NAME in the source, the word in
 * PREFORKD_EVENT= and in JSON, the id (of `systemd-id128 new`) in MESSAGE_ID=, which
 * the journal's catalog goes by. Others search by words and ids: neither is ever
 * changed. Each has its entry in systemd/preforkd.catalog.
 */
#pragma once

#define LOG_EVENTS(X)                                                                              \
	/* the daemon */                                                                           \
	X(READY, "ready", "1eda41e6191746edbba9b800319eedf7")                                      \
	X(STOPPING, "stopping", "4e55ed50e3724b1a8b80a0684b74bb26")                                \
	X(STOPPED, "stopped", "817da5e111174cb099b64984d959673a")                                  \
	X(DRAIN_OVER, "drain-over", "47b9e14f453e49158b82df1f44ec14b4")                            \
	X(JOBS_CANCELLED, "jobs-cancelled", "bb6be59eb109473897c02aa4e3aacf44")                    \
	X(CONFIG_REFUSED, "configuration-refused", "a26224ec4fa54f57ab2ed66ac3a0bd3a")             \
	X(START_REFUSED, "required-pool-failed", "d4adc3211060434abd7f8bf2a0c848ba")               \
	X(RELOADED, "reloaded", "940e04bf50f44df4972c7d1f46220312")                                \
	X(RELOAD_FAILED, "reload-failed", "d0742c601fea4f0291ae31cfe29f2150")                      \
	X(LINES_DROPPED, "log-lines-dropped", "23f1ad1caa72458db3f3671a88619863")                  \
	/* pools, workers, jobs */                                                                 \
	X(POOL_DEGRADED, "pool-degraded", "e96bc439a3e940d7b4f820ecf78f2f56")                      \
	X(POOL_RECOVERED, "pool-recovered", "a490eb807414426da526ce303998d41a")                    \
	X(RESTARTED, "pool-restarted", "7f0ee9859aa74fdba25c25c2885b2553")                         \
	X(RESTART_FAILED, "pool-restart-failed", "b0b21993bb46437d821c4852e0f688d7")               \
	X(WORKER_DIED, "worker-died", "fc075eccf4c044fa8652ab8318bdadfa")                          \
	X(WORKER_KILLED, "worker-killed", "9c16ea5f8e2044338c22809be7db3366")                      \
	X(JOB_CRASHED, "job-crashed", "af0f72328c534cccb61da767f2ef7f7d")                          \
	X(JOB_TIMEOUT, "job-timeout", "58e09016f9a4419a956032dd638f7b7f")                          \
	/* clients */                                                                              \
	X(CLIENT_CLOSED, "client-closed", "0eab38f74a0c40368e978f0d7253323e")                      \
	X(CONNECTION_REFUSED, "connection-refused", "05e248d7d1c84c17a8cf1b858ae5371a")            \
	X(ADMIN, "administration", "d1168d4b091442519df67a16e2a34260")                             \
	X(ADMIN_REFUSED, "administration-refused", "5970d7274bd34292a236f878c9c32036")

#define LOG_EVENT_ENUM(name, word, id) LOG_EVENT_##name,
enum log_event { LOG_EVENT_NONE, LOG_EVENTS(LOG_EVENT_ENUM) LOG_EVENT_COUNT };
#undef LOG_EVENT_ENUM
