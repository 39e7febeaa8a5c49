/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host with the table and two guests, for tests of what it lets pass. */
#ifndef VM2_TESTS_FIREWALL_WORLD_H
#define VM2_TESTS_FIREWALL_WORLD_H

#include "firewall/restore.h"
#include "tests/unit/firewall/net.h"

static const struct rules_base base = { "vm2", "10.66.0.0/16", "fd66::/64" };
static const struct rules_guest guests[] = { { 1, "10.66.0.1", "fd66::1" },
	{ 2, "10.66.0.2", "fd66::2" } };

/* rules_drift_fn */
static inline void count_drift(void *data, const char *how, const char *what)
{
	struct buf *b = data;

	buf_printf(b, "%s %s\n", how, what);
}

/* A host with two guests that are up and an outside; their namespaces. */
struct world {
	int outside, guest[2];
};

static inline void guest_up(int i, int netns)
{
	struct link_spec spec = { "vm2", guests[i].number, guests[i].address4, guests[i].address6,
		1500 };
	struct err err = { 0 };

	cr_assert(rules_add_guest(&base, &guests[i], &err) == 0, "%s", err.text);
	cr_assert(link_up(&spec, netns, &err) == 0, "%s", err.text);
}

static inline struct world make_world(void)
{
	struct world w;
	struct err err = { 0 };

	be_host();
	w.outside = make_outside();
	cr_assert(rules_restore(&base, NULL, 0, &err) == 0, "%s", err.text);
	for (int i = 0; i < 2; i++) {
		w.guest[i] = new_netns();
		guest_up(i, w.guest[i]);
	}
	return w;
}

/* What rules_verify() tells, in one text. */
static inline const char *drift(const struct rules_state *state, struct buf *b)
{
	struct err err = { 0 };
	int n;

	buf_free(b);
	buf_puts(b, "");
	n = rules_verify(&base, state, count_drift, b, &err);
	cr_expect(n >= 0, "%s", err.text);
	cr_expect((n == 0) == (b->len == 0), "%d: %s", n, b->data);
	return b->data;
}

static const struct rules_port two_ports[] = { { IPPROTO_TCP, PORT, PORT, "10.66.0.1", "fd66::1" },
	{ IPPROTO_UDP, 53, 5353, "10.66.0.2", NULL } };
static const struct rules_state full = { guests, 2, two_ports, 2 };

/* Change guest 1's rules, and have the kernel's be those. */
static inline void change_own(const struct rules_own *from, uint32_t n_from, const struct rules_own *to,
	uint32_t n_to)
{
	const struct rules_state state = { guests, 2, NULL, 0, to, n_to };
	struct buf b = { 0 };
	struct err err = { 0 };

	cr_assert(rules_change_own(&base, from, n_from, to, n_to, &err) == 0, "%s", err.text);
	cr_expect_str_eq(drift(&state, &b), "");
	buf_free(&b);
}

#endif
