/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The firewall shown, compared with what it should be, and restored. */
#include <stdio.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/daemon/drift.h"
#include "provision/daemon/fence.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/links.h"
#include "provision/daemon/settle.h"

/* --- show --- */

static const struct {
	const char *what, *verdict;
} defaults[] = {
	{ "to a guest from the world", "blocked, save answers and published ports" },
	{ "from a guest to another", "blocked, save published ports and siblings" },
	{ "from a guest to the host", "blocked, save ICMP and answers" },
	{ "from a guest to 169.254.0.0/16", "blocked" },
	{ "from a guest to other addresses that no router forwards to (RFC 6890)", "blocked" },
	{ "from an address that is not the guest's", "blocked" },
};

static int send_line(struct request *r, const char *what, const char *verdict,
	const struct rules_counter *c)
{
	CLEANUP_MSG struct msg row = { 0 };

	request_row_begin(&row);
	msg_add(&row, "what", what);
	msg_add(&row, "verdict", verdict);
	if (c) {
		msg_add(&row, "counter", c->name);
		msg_add_u64(&row, "packets", c->packets);
		msg_add_u64(&row, "bytes", c->bytes);
	}
	return request_row(r, &row);
}

static void show_counter(void *data, const struct rules_counter *c)
{
	send_line(data, c->meaning, "dropped", c);
}

static int show_port(void *data, const struct store_port *p)
{
	CLEANUP_FREE char *what = xasprintf("to %s port %u of the host", p->protocol, p->host_port);
	CLEANUP_FREE char *verdict = xasprintf("goes to port %u of %s%s", p->guest_port, p->tenant,
		p->address4[0] || p->address6[0] ? "" : ", once it has a guest");

	return send_line(data, what, verdict, NULL);
}

static int show_rule(void *data, const struct store_rule *rule)
{
	bool in = !strcmp(rule->direction, "in"), any = !strcmp(rule->protocol, "any");
	CLEANUP_BUF struct buf what = { 0 };

	buf_printf(&what, in ? "to %s from " : "from %s to ", rule->tenant);
	buf_printf(&what, "%s%s", !strcmp(rule->direction, "peer") ? "guests" : "the world",
		rule->prefix[0] ? " in " : "");
	buf_printf(&what, "%s, %s", rule->prefix, any ? "anything" : rule->protocol);
	if (rule->last_port)
		buf_printf(&what, rule->first_port == rule->last_port ? " port %u" : " ports %u to %u",
			rule->first_port, rule->last_port);
	buf_printf(&what, " (rule %u)", rule->position);
	return send_line(data, what.data, !strcmp(rule->verdict, "allow") ? "allowed" : "blocked", NULL);
}

static const char *way_out(const char *masquerade)
{
	return !strcmp(masquerade, "none") ? "allowed" :
		!strcmp(masquerade, "ipv4") ? "allowed, by IPv4 with the host's address" :
		!strcmp(masquerade, "ipv6") ? "allowed, by IPv6 with the host's address" :
					      "allowed, with the host's address";
}

int firewall_show(struct request *r)
{
	const struct rules_base base = fence_base(r->config);
	int n;

	n = send_line(r, "from a guest to the world", way_out(r->config->masquerade), NULL);
	for (size_t i = 0; n == 0 && i < ARRAY_LEN(defaults); i++)
		n = send_line(r, defaults[i].what, defaults[i].verdict, NULL);
	if (n == 0 && r->config->protect[0]) {
		CLEANUP_FREE char *what = xasprintf("from a guest to %s", r->config->protect);

		n = send_line(r, what, "blocked", NULL);
	}
	if (n == 0)
		n = store_port_each(r->store, NULL, show_port, r, &r->err);
	if (n == 0)
		n = store_rule_each(r->store, NULL, show_rule, r, &r->err);
	return n == 0 ? rules_counters(&base, show_counter, r, &r->err) : n;
}

/* --- plan --- */

static int send_difference(struct request *r, const char *how, const char *what)
{
	CLEANUP_MSG struct msg row = { 0 };

	request_row_begin(&row);
	msg_add(&row, "difference", how);
	msg_add(&row, "what", what);
	return request_row(r, &row);
}

/* links_find() */
static void add_link(void *data, enum links_fault fault, const char *what)
{
	struct buf *b = data;

	buf_printf(b, "%s%clink %s", b->len ? "\n" : "", fault == LINKS_GONE ? '-' : ' ', what);
}

/* After all locks are let go of: whoever asks may read slowly. */
static int send_links(struct request *r)
{
	CLEANUP_BUF struct buf lines = { 0 };
	char *save = NULL;
	int n = links_find(r->config, r->store, add_link, &lines, &r->err);

	for (char *l = lines.len ? strtok_r(lines.data, "\n", &save) : NULL; n == 0 && l;
	     l = strtok_r(NULL, "\n", &save))
		n = send_difference(r, *l == '-' ? "missing" : "changed", l + 1);
	return n;
}

int firewall_plan(struct request *r)
{
	CLEANUP_DRIFTS struct drifts drifts = { 0 };
	int n = drifts_find(r->config, r->store, &drifts, &r->err);

	for (size_t i = 0; n == 0 && i < drifts.n; i++)
		n = send_difference(r, drifts.of[i].how, drifts.of[i].what);
	return n == 0 ? send_links(r) : n;
}

int firewall_restore(struct request *r)
{
	char who[48];
	int n = fence_restore(r->config, r->store, &r->err);

	if (n != 0)
		return n;
	snprintf(who, sizeof(who), "vm2 (uid %u)", (unsigned int)r->peer.uid);
	fence_note(r->config, who, "had the table restored");
	/* What firewall_plan() names is as it should be then; faults are logged, and named again. */
	links_mend(r->config, r->store);
	settle_addresses(r->config, r->store);
	return 0;
}
