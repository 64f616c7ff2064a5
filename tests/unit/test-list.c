/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

#include <string.h>

struct item {
	char name;
	struct list link;
};

static struct item items[4];

static void
reset_items(void)
{
	for (size_t i = 0; i < 4; i++) {
		items[i].name = (char)('a' + i);
		list_init(&items[i].link);
	}
}

/* The names in order, both ways round. */
static void
assert_order(struct list *head, const char *expected)
{
	size_t n = strlen(expected), i = 0;

	list_foreach(it, next, head) {
		assert_true(i < n);
		assert_int_equal(container_of(it, struct item, link)->name, expected[i++]);
	}
	assert_int_equal(i, n);
	for (struct list *it = head->prev; it != head; it = it->prev)
		assert_int_equal(container_of(it, struct item, link)->name, expected[--i]);
	assert_int_equal(i, 0);
	assert_int_equal(list_empty(head), n == 0);
	assert_ptr_equal(list_first(head), n ? head->next : NULL);
}

static void
test_insert(void **state)
{
	struct list head = LIST_INIT(head);

	(void)state;
	reset_items();
	assert_order(&head, "");
	list_append(&head, &items[1].link);
	list_append(&head, &items[3].link);
	assert_order(&head, "bd");
	list_prepend(&head, &items[0].link);
	list_insert_after(&items[1].link, &items[2].link);
	assert_order(&head, "abcd");
}

static void
test_remove(void **state)
{
	struct list head = LIST_INIT(head);

	(void)state;
	reset_items();
	for (size_t i = 0; i < 4; i++)
		list_append(&head, &items[i].link);
	assert_true(list_linked(&items[2].link));
	list_remove(&items[2].link);
	assert_false(list_linked(&items[2].link));
	list_remove(&items[2].link); /* in no list: nothing happens */
	assert_order(&head, "abd");
	list_remove(&items[0].link);
	list_remove(&items[3].link);
	assert_order(&head, "b");
	list_remove(&items[1].link);
	assert_order(&head, "");
}

static void
test_foreach_removes(void **state)
{
	struct list head = LIST_INIT(head);

	(void)state;
	reset_items();
	for (size_t i = 0; i < 4; i++)
		list_append(&head, &items[i].link);
	list_foreach(it, next, &head) {
		struct item *item = container_of(it, struct item, link);

		list_remove(it);
		item->link = (struct list){NULL, NULL}; /* as if it were freed */
	}
	assert_order(&head, "");
}

static void
test_splice(void **state)
{
	static const struct {
		const char *to, *from, *joined;
	} cases[] = {
		{"", "", ""},	      {"ab", "", "ab"}, {"", "cd", "cd"},
		{"ab", "cd", "abcd"}, {"a", "d", "ad"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct list to = LIST_INIT(to), from = LIST_INIT(from);

		reset_items();
		for (const char *c = cases[i].to; *c; c++)
			list_append(&to, &items[*c - 'a'].link);
		for (const char *c = cases[i].from; *c; c++)
			list_append(&from, &items[*c - 'a'].link);
		list_splice(&to, &from);
		assert_order(&to, cases[i].joined);
		assert_order(&from, "");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_insert),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_foreach_removes),
		cmocka_unit_test(test_splice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
