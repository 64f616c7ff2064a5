/* SPDX-License-Identifier: MIT */
/* Topics, their subscribers, and bringing them what there is. */
#include "control/events.h"

#include "base/mem.h"
#include "base/text.h"
#include "control/command.h"
#include "control/user.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char lost_channel[] = "lost";

/* ---- families ---- */

static const char *const family_names[FAMILIES] = {
	[FAMILY_JOB] = "job",	    [FAMILY_OUT] = "out", [FAMILY_PROGRESS] = "progress",
	[FAMILY_JOBS] = "jobs",	    [FAMILY_KEY] = "key", [FAMILY_POOL] = "pool",
	[FAMILY_WORKER] = "worker",
};

const char *
family_name(enum family f)
{
	return family_names[f];
}

unsigned
family_of(const struct resp_slice *channel, struct resp_slice *ret_rest)
{
	const char *point = memchr(channel->data, '.', channel->len);
	size_t n = point ? (size_t)(point - channel->data) : 0;

	for (unsigned f = 0; point && f < FAMILIES; f++) {
		if (strlen(family_names[f]) != n || memcmp(family_names[f], channel->data, n) != 0)
			continue;
		*ret_rest = (struct resp_slice){.data = point + 1, .len = channel->len - n - 1};
		return 1U << f;
	}
	return 0;
}

unsigned
families_like(const char *prefix, size_t len)
{
	unsigned families = 0;

	for (unsigned f = 0; f < FAMILIES; f++) {
		size_t n = strlen(family_names[f]);
		bool like = len <= n ? !memcmp(prefix, family_names[f], len) :
				       !memcmp(prefix, family_names[f], n) && prefix[n] == '.';

		families |= (unsigned)like << f;
	}
	return families;
}

/* ---- topics ---- */

static struct topic *
topic_find(const struct map *m, const struct resp_slice *name)
{
	struct map_node *n = map_find(m, map_hash_bytes(name->data, name->len, 0));

	for (; n; n = map_find_next(n)) {
		struct topic *t = container_of(n, struct topic, by_name);

		if (t->len == name->len && !memcmp(t->name, name->data, name->len))
			return t;
	}
	return NULL;
}

static struct map *
topic_map(struct events *e, bool pattern)
{
	return pattern ? &e->pattern_names : &e->channels;
}

static void
topic_count(struct events *e, const struct topic *t, bool here)
{
	for (unsigned f = 0; f < FAMILIES; f++)
		if (t->families & 1U << f)
			e->wanted[f] += here ? 1 : (size_t)-1;
}

/* NULL: no memory. */
static struct topic *
topic_new(struct events *e, const struct resp_slice *name, bool pattern)
{
	struct topic *t = malloc(sizeof(*t) + name->len);
	struct resp_slice rest;
	size_t prefix;

	if (!t)
		return NULL;
	*t = (struct topic){.is_pattern = pattern, .len = name->len};
	list_init(&t->all);
	list_init(&t->subscriptions);
	memcpy(t->name, name->data, name->len);
	if (map_add(topic_map(e, pattern), &t->by_name, map_hash_bytes(name->data, name->len, 0)) <
	    0) {
		free(t);
		return NULL;
	}
	if (pattern) {
		prefix = text_glob_prefix(t->name, t->len);
		t->families = families_like(t->name, prefix);
		t->matching = t->len - prefix;
		e->matching += t->matching;
		list_append(&e->patterns, &t->all);
	} else {
		t->families = family_of(name, &rest);
	}
	topic_count(e, t, true);
	return t;
}

/* Nobody is subscribed to it any more. */
static void
topic_free(struct events *e, struct topic *t)
{
	map_remove(topic_map(e, t->is_pattern), &t->by_name);
	list_remove(&t->all);
	e->matching -= t->matching;
	topic_count(e, t, false);
	free(t);
}

/* What is matched with every event is bounded, by number and by the work that it may
 * make; the last quarter is for admins, so that nobody can shut them out. */
static bool
has_room_for_pattern(const struct events *e, const struct client *c, const struct resp_slice *name)
{
	size_t quarters = access_allows(c, CLASS_ADMIN) ? 4 : 3;
	size_t matching = name->len - text_glob_prefix(name->data, name->len);

	return e->pattern_names.count < EVENTS_ALL_PATTERNS_MAX / 4 * quarters &&
	       e->matching + matching <= EVENTS_ALL_MATCHING_MAX / 4 * quarters;
}

/* ---- subscriptions ---- */

static uint64_t
hash_both(const struct topic *t, const struct client *c)
{
	return map_hash_u64(map_hash_u64((uintptr_t)t) ^ c->id);
}

static struct subscription *
subscription_find(const struct events *e, const struct topic *t, const struct client *c)
{
	struct map_node *n = map_find(&e->subscriptions, hash_both(t, c));

	for (; n; n = map_find_next(n)) {
		struct subscription *s = container_of(n, struct subscription, by_both);

		if (s->topic == t && s->client == c)
			return s;
	}
	return NULL;
}

static struct list *
list_of(struct client *c, bool pattern)
{
	return pattern ? &c->news.patterns : &c->news.channels;
}

static size_t *
count_of(struct client *c, bool pattern)
{
	return pattern ? &c->news.pattern_count : &c->news.channel_count;
}

/* A quarter of its memory is for news, and another one for who wants to hear them. */
static size_t
news_room(const struct client *c)
{
	return c->server->conf->control.client_memory / 4;
}

/* As if nobody shared the topic. */
static size_t
cost(size_t len)
{
	return sizeof(struct topic) + len + sizeof(struct subscription);
}

static bool
is_lost(const struct topic *t)
{
	return !t->is_pattern && t->len == strlen(lost_channel) &&
	       !memcmp(t->name, lost_channel, t->len);
}

/* False: no memory. */
static bool
subscription_new(struct events *e, struct topic *t, struct client *c)
{
	struct subscription *s = malloc(sizeof(*s));

	if (!s)
		return false;
	*s = (struct subscription){.topic = t, .client = c};
	if (map_add(&e->subscriptions, &s->by_both, hash_both(t, c)) < 0) {
		free(s);
		return false;
	}
	list_append(&t->subscriptions, &s->of_topic);
	list_append(list_of(c, t->is_pattern), &s->of_client);
	(*count_of(c, t->is_pattern))++;
	c->news.bytes += cost(t->len);
	c->user->news_bytes += cost(t->len);
	c->news.wants_lost |= is_lost(t);
	events_listen(e, true);
	return true;
}

static void
subscription_free(struct subscription *s)
{
	struct events *e = s->client->server->events;
	struct topic *t = s->topic;

	map_remove(&e->subscriptions, &s->by_both);
	list_remove(&s->of_topic);
	list_remove(&s->of_client);
	(*count_of(s->client, t->is_pattern))--;
	s->client->news.bytes -= cost(t->len);
	s->client->user->news_bytes -= cost(t->len);
	if (is_lost(t))
		s->client->news.wants_lost = false;
	free(s);
	if (list_empty(&t->subscriptions))
		topic_free(e, t);
	if (!e->subscriptions.count)
		events_listen(e, false);
}

static bool
has_room_for_name(const struct client *c, size_t len)
{
	uint64_t of_user = c->server->conf->control.user_memory / 4;

	return c->news.bytes + cost(len) <= news_room(c) &&
	       (c->only || c->user->news_bytes + cost(len) <= of_user);
}

int
events_subscribe(struct client *c, const struct resp_slice *name, bool pattern, bool *ret_new)
{
	struct events *e = c->server->events;
	struct topic *t = topic_find(topic_map(e, pattern), name);

	*ret_new = !t || !subscription_find(e, t, c);
	if (!*ret_new)
		return 0;
	if (*count_of(c, pattern) >= (pattern ? EVENTS_PATTERNS_MAX : EVENTS_CHANNELS_MAX))
		return EVENTS_E_MANY;
	if (!has_room_for_name(c, name->len))
		return EVENTS_E_BYTES;
	if (!t && pattern && !has_room_for_pattern(e, c, name))
		return EVENTS_E_FULL;
	if (!t && !(t = topic_new(e, name, pattern)))
		return EVENTS_E_MEMORY;
	if (subscription_new(e, t, c))
		return 0;
	if (list_empty(&t->subscriptions))
		topic_free(e, t);
	return EVENTS_E_MEMORY;
}

void
events_unsubscribe(struct client *c, const struct resp_slice *name, bool pattern)
{
	struct events *e = c->server->events;
	struct topic *t = topic_find(topic_map(e, pattern), name);
	struct subscription *s = t ? subscription_find(e, t, c) : NULL;

	if (s)
		subscription_free(s);
}

bool
events_first(const struct client *c, bool pattern, struct resp_slice *ret)
{
	struct list *l = list_first(pattern ? &c->news.patterns : &c->news.channels);
	const struct topic *t;

	if (!l)
		return false;
	t = container_of(l, struct subscription, of_client)->topic;
	*ret = (struct resp_slice){.data = t->name, .len = t->len};
	return true;
}

void
client_unsubscribe_all(struct client *c)
{
	struct list *const lists[] = {&c->news.channels, &c->news.patterns};
	struct list *l;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		while ((l = list_first(lists[i])))
			subscription_free(container_of(l, struct subscription, of_client));
	c->news.lost = 0;
	c->news.losing = false;
}

/* ---- delivery ---- */

static void
put_text(struct buf *b, const char *word, const struct resp_slice *text)
{
	size_t n = word ? strlen(word) : 0, space = n && text->len ? 1 : 0;

	buf_putc(b, '$');
	buf_put_u64(b, n + space + text->len);
	buf_put(b, "\r\n", 2);
	buf_put(b, word, n);
	buf_put(b, " ", space);
	buf_put(b, text->data, text->len);
	buf_put(b, "\r\n", 2);
}

static uint64_t
output_end(const struct client *c)
{
	return c->stream.sent + buf_len(&c->stream.out);
}

static void
put_event(struct client *c, const struct topic *pattern, const struct event *ev)
{
	struct buf *b = client_news(c);
	bool straight = b == &c->stream.out;

	if (straight && output_end(c) != c->news.to)
		c->news.from = output_end(c); /* there was something else since */
	resp_put_push(b, c->proto, pattern ? 4 : 3);
	resp_put_str(b, pattern ? "pmessage" : "message");
	if (pattern)
		resp_put_bulk(b, pattern->name, pattern->len);
	resp_put_bulk(b, ev->channel.data, ev->channel.len);
	put_text(b, ev->word, &ev->text);
	if (straight)
		c->news.to = output_end(c);
	client_news_count(c);
	client_note(c);
}

/* Who lost some has to take half of what it has before it gets more, or each message
 * would come with a count of those lost. */
static bool
has_room(struct client *c)
{
	size_t room = news_room(c);
	size_t bytes = c->news.behind ? client_reply_bytes(c) : buf_len(&c->stream.out);

	bytes += buf_len(&c->news.aside);
	c->news.losing = bytes > (c->news.losing ? room / 2 : room);
	return !c->news.losing;
}

static void
put_lost(struct client *c)
{
	char text[24];
	struct event ev = {.channel = {lost_channel, strlen(lost_channel)}, .text.data = text};

	ev.text.len =
		(size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)c->news.lost);
	c->news.lost = 0;
	put_event(c, NULL, &ev);
}

bool
events_catch_up(struct client *c)
{
	if (!c->news.lost || !c->news.wants_lost || c->gone || c->closing || !has_room(c))
		return false;
	put_lost(c);
	return true;
}

static bool
may_hear(const struct client *c, const struct event *ev)
{
	if (ev->job)
		return access_allows_job(c, CLASS_READ, ev->job);
	return access_allows_pool(c, CLASS_READ, ev->pool);
}

static void
deliver(struct client *c, const struct topic *pattern, const struct event *ev)
{
	if (c->gone || c->closing || !may_hear(c, ev))
		return;
	if (!has_room(c)) {
		c->news.lost++;
		return;
	}
	events_catch_up(c); /* before what comes after the gap */
	put_event(c, pattern, ev);
}

static void
deliver_all(const struct topic *t, const struct topic *pattern, const struct event *ev)
{
	list_foreach(it, next, &t->subscriptions)
		deliver(container_of(it, struct subscription, of_topic)->client, pattern, ev);
}

void
events_publish(struct events *e, enum family f, const struct event *ev)
{
	const struct topic *t = topic_find(&e->channels, &ev->channel);

	if (t)
		deliver_all(t, NULL, ev);
	list_foreach(it, next, &e->patterns) {
		t = container_of(it, struct topic, all);
		if (t->families & 1U << f &&
		    text_glob(t->name, t->len, ev->channel.data, ev->channel.len))
			deliver_all(t, t, ev);
	}
}

void
events_tell(struct client *c, const struct event *ev)
{
	deliver(c, NULL, ev);
}
