/* SPDX-License-Identifier: MIT */
#include "daemon/reload.h"

#include "base/log.h"
#include "base/mem.h"
#include "daemon/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct generation {
	struct list link;
	struct conf conf;
};

static void
replace(char **text, char *take_with)
{
	free(*text);
	*text = take_with;
}

/* ---- life ---- */

void
reload_init(struct reload *r, const struct reload *from)
{
	*r = *from;
	r->listening = r->conf->control.listen ? mem_strdup(r->conf->control.listen) : NULL;
	list_init(&r->generations);
}

static void
generation_free(struct generation *g)
{
	list_remove(&g->link);
	conf_free(&g->conf);
	free(g);
}

void
reload_fini(struct reload *r)
{
	if (!r->loop)
		return;
	timer_clear(loop_timers(r->loop), &r->look);
	list_foreach(it, next, &r->generations)
		generation_free(container_of(it, struct generation, link));
	free(r->listening);
	free(r->summary);
	free(r->warning);
	free(r->error);
}

const char *
reload_ask(struct reload *r, const char **ret_code)
{
	if (r->pools->mode != POOLS_OPEN || r->stop->phase != STOP_NOT) {
		*ret_code = "DRAINING";
		return "preforkd finishes what it has and starts nothing anew";
	}
	if (!r->path) {
		*ret_code = "ERR";
		return "this daemon was started without a configuration file: there is nothing "
		       "to read again";
	}
	r->wanted = true;
	loop_again(r->loop);
	return NULL;
}

/* ---- what is said of it ---- */

static void
tell_manager(const struct reload *r, const char *state)
{
	/* Before it is ready it is told that when it is, and a stop has the last word. */
	if (r->report->ready && r->stop->phase == STOP_NOT)
		notify_owe(r->notify, state);
}

static void
tell_begin(struct reload *r, mono_t now)
{
	char *state = mem_printf("RELOADING=1\nMONOTONIC_USEC=%lld", (long long)now.us);

	tell_manager(r, state);
	free(state);
}

/* Wherever one of the two has changed: clients ask at any time. */
static void
publish(const struct reload *r)
{
	r->server->reload_error = r->error;
	r->server->reload_warning = r->warning;
}

/* Nothing but READY=1 ends RELOADING=1, so it is said of one that failed, too. */
static void
tell_end(const struct reload *r)
{
	publish(r);
	tell_manager(r, "READY=1");
}

/* ---- a configuration that cannot be ---- */

/* take_mistakes: lines. */
static void
refuse(struct reload *r, char *take_mistakes, mono_t now)
{
	struct log_about about = {.event = LOG_EVENT_RELOAD_FAILED};
	size_t len = strlen(take_mistakes), first = strcspn(take_mistakes, "\n");
	char *text = mem_printf("nothing was changed: %.*s%s", (int)first, take_mistakes,
				first + 1 < len ? " (and more: reload_error of STATUS)" : "");

	replace(&r->error, take_mistakes);
	log_lines(&about, LOG_ERR, r->error, len);
	log_about(&about, LOG_ERR, "reload failed: the configuration that was in force stays so");
	server_reload_refused(r->server, "BADCONFIG", text);
	free(text);
	report_reload(r->report, r->error, first, now);
	tell_end(r);
}

/* ---- one that is put in force ---- */

/* NULL: it cannot be, and why is in *ret_mistakes, malloc'ed. */
static struct generation *
load(const struct reload *r, char **ret_mistakes)
{
	struct generation *g = mem_new(sizeof(*g));
	struct buf errors = {0};
	size_t len;

	list_init(&g->link);
	if (config_load_at(r->path, r->listen, false, &g->conf, &errors) == 0) {
		if (r->log_level >= 0)
			g->conf.log.level = r->log_level;
		buf_free(&errors);
		return g;
	}
	buf_putc(&errors, 0);
	*ret_mistakes = buf_steal(&errors, &len);
	if (!*ret_mistakes)
		*ret_mistakes = mem_strdup("out of memory for what is wrong with it\n");
	buf_free(&errors);
	free(g);
	return NULL;
}

/* What was asked for, and is not done. */
static void
warn(struct reload *r, char *take_text)
{
	char *before = r->warning;

	log_msg(LOG_WARNING, "%s", take_text);
	r->warning = before ? mem_printf("%s\n%s", before, take_text) : mem_strdup(take_text);
	free(before);
	free(take_text);
}

/* The socket is ours, so are its mode and its group. */
static void
set_socket(struct reload *r, const struct conf *was)
{
	const char *path = r->server->listening ? r->server->listener.path : NULL;
	const struct conf *c = r->conf;

	if (!path || (c->control.mode == was->control.mode && c->control.gid == was->control.gid))
		return;
	/* With the group of before nobody has what the new mode gives to the new one. */
	if (chmod(path, c->control.mode & was->control.mode) < 0 ||
	    chown(path, (uid_t)-1, c->control.gid == (gid_t)-1 ? getegid() : c->control.gid) < 0 ||
	    chmod(path, c->control.mode) < 0)
		warn(r, mem_printf("control: cannot set the mode and group of %s: %s", path,
				   strerror(errno)));
}

static void
check_listen(struct reload *r)
{
	const char *path = r->conf->control.listen;

	if (!path || !r->listening || strcmp(path, r->listening) == 0)
		return;
	warn(r, mem_printf("control.listen: %s takes effect at the next start", path));
}

static void
put_in_force(struct reload *r, struct generation *take_g, mono_t now)
{
	const struct conf *was = r->conf;
	struct adoption a = pools_adopt(r->pools, &take_g->conf, now);

	list_append(&r->generations, &take_g->link);
	r->conf = r->stop->conf = &take_g->conf;
	log_setup("preforkd", r->conf->log.level, r->conf->log.format);
	server_reconfigure(r->server, r->conf);
	replace(&r->warning, NULL);
	set_socket(r, was);
	check_listen(r);
	replace(&r->error, NULL);
	publish(r);
	report_reload(r->report, NULL, 0, now);
	replace(&r->summary, mem_printf("%zu pool%s (%zu new, %zu with new workers), %zu taken out",
					r->conf->n_pools, r->conf->n_pools == 1 ? "" : "s", a.added,
					a.restarted, a.removed));
	r->proving = true;
}

static void
begin(struct reload *r, mono_t now)
{
	struct generation *g;
	char *mistakes;

	r->wanted = false;
	tell_begin(r, now);
	g = load(r, &mistakes);
	if (!g) {
		refuse(r, mistakes, now);
		return;
	}
	server_reload_begun(r->server);
	put_in_force(r, g, now);
	pools_turn(r->pools, now);
}

/* ---- its end ---- */

struct outcome {
	struct buf failed;  /* "pool: why; …" */
	struct buf held_up; /* "pool, …" */
	mono_t next;
	bool pending;
};

static mono_t
earlier(mono_t a, mono_t b)
{
	return mono_before(a, b) ? a : b;
}

static void
put_failed(struct buf *b, const struct pool *p)
{
	char *why = p->last_error ? pool_trouble(p) : mem_strdup("is not ready in time");

	buf_putf(b, "%spool %s: %s", buf_len(b) ? "; " : "", p->conf->name, why);
	free(why);
}

/* Jobs of old workers are waited for as long as a stop would; another reload that comes
 * meanwhile adds nothing to that. */
static void
look_at(const struct reload *r, const struct pool *p, struct outcome *o, mono_t now)
{
	mono_t next, limit = mono_add(p->unproven_since, r->conf->drain_us);
	enum pool_proof proof = pool_proof(p, &next, now);

	if (proof == PROOF_FAILED)
		put_failed(&o->failed, p);
	else if (proof == PROOF_HELD_UP && !mono_before(now, limit))
		buf_putf(&o->held_up, "%s%s", buf_len(&o->held_up) ? ", " : "", p->conf->name);
	else if (proof == PROOF_HELD_UP)
		o->next = earlier(o->next, limit);
	else if (proof == PROOF_AWAITED)
		o->next = earlier(o->next, next);
	o->pending |= (proof == PROOF_HELD_UP && mono_before(now, limit)) || proof == PROOF_AWAITED;
}

static void
end_well(struct reload *r, const char *held_up)
{
	log_event(LOG_EVENT_RELOADED, LOG_NOTICE, "reloaded: %s%s%s", r->summary,
		  *held_up ? "; still at their jobs are the old workers of " : "", held_up);
	server_reload_done(r->server, NULL, "OK");
}

static void
end_badly(struct reload *r, const char *failed)
{
	log_event(LOG_EVENT_RELOADED, LOG_ERR, "reloaded: %s; but new workers do not start: %s",
		  r->summary, failed);
	replace(&r->error, mem_strdup(failed));
	char *text = mem_printf("the new configuration is in force, but new workers do not start: "
				"%s",
				failed);
	server_reload_done(r->server, "DOWN", text);
	free(text);
}

static void
end(struct reload *r, struct outcome *o)
{
	r->proving = false;
	timer_clear(loop_timers(r->loop), &r->look);
	for (size_t i = 0; i < r->pools->count; i++)
		r->pools->v[i]->unproven = false;
	buf_putc(&o->failed, 0);
	buf_putc(&o->held_up, 0);
	if (*buf_head(&o->failed))
		end_badly(r, buf_head(&o->failed));
	else
		end_well(r, buf_head(&o->held_up));
	replace(&r->summary, NULL);
	tell_end(r);
}

static void
look(struct reload *r, mono_t now)
{
	struct outcome o = {.next = MONO_NEVER};

	for (size_t i = 0; i < r->pools->count; i++)
		look_at(r, r->pools->v[i], &o, now);
	if (o.pending)
		timer_set(loop_timers(r->loop), &r->look, o.next);
	else
		end(r, &o);
	buf_free(&o.failed);
	buf_free(&o.held_up);
}

/* ---- what nothing goes by any more ---- */

static void
sweep(struct reload *r)
{
	struct pool *p;

	while ((p = pools_spent(r->pools))) {
		server_forget_pool(r->server, p);
		pools_remove(r->pools, p);
	}
	if (!r->pools->outdated)
		return;
	r->pools->outdated = false;
	list_foreach(it, next, &r->generations) {
		struct generation *g = container_of(it, struct generation, link);

		if (&g->conf != r->conf && !pools_use(r->pools, &g->conf))
			generation_free(g);
	}
}

void
reload_turn(struct reload *r, mono_t now)
{
	const char *code, *why;

	if (r->wanted && (why = reload_ask(r, &code))) { /* a stop has come first */
		server_reload_refused(r->server, code, why);
		r->wanted = false;
	}
	if (r->wanted)
		begin(r, now);
	if (r->proving)
		look(r, now);
	sweep(r);
}
