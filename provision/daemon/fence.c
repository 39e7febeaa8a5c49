/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/fence.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "firewall/owner.h"
#include "provision/audit/ledger.h"
#include "provision/base/cleanup.h"
#include "provision/base/log.h"
#include "provision/daemon/life.h"
#include "provision/daemon/locks.h"
#include "provision/daemon/quota.h"
#include "provision/daemon/traffic.h"

/* Those that start or stop a guest hold the lock shared for as long as that takes. */
#define RULES_WAIT_MS 60000

#define RETRY_MS 500

/* What the database means; addresses belong to the arrays of rows. */
struct state {
	const struct config *verify; /* to be compared: those that may be missing are marked */
	const struct store_guest *guest; /* whose addresses the ports get, even one on its way out */
	struct store_guest *guests;
	struct store_port *ports;
	struct fence_rules rules;
	struct rules_guest *rates; /* of the guests: up, down and packets alone */
	bool *optional;
	uint32_t n_guests, cap_guests, n_ports, cap_ports;
	struct rules_guest *rules_guests;
	struct rules_port *rules_ports;
	struct rules_own *rules_own;
	struct rules_state value;
};

void fence_rules_free(struct fence_rules *rules)
{
	free(rules->of);
	*rules = (struct fence_rules){ 0 };
}

static int add_rule(void *data, const struct store_rule *rule)
{
	struct fence_rules *rules = data;

	rules->of = reallocarray(rules->of, rules->n + 1, sizeof(*rules->of));
	if (!rules->of)
		return -ENOMEM;
	rules->of[rules->n++] = *rule;
	return 0;
}

static int add_meant_rule(void *data, const struct store_rule *rule)
{
	return rule->number ? add_rule(data, rule) : 0;
}

int fence_rules_get(
	struct store *store, const char *tenant, struct fence_rules *ret, struct err *err)
{
	return store_rule_each(store, tenant, add_rule, ret, err);
}

static enum rules_direction direction_of(const struct store_rule *rule)
{
	return !strcmp(rule->direction, "in") ? RULES_IN :
		!strcmp(rule->direction, "out") ? RULES_OUT :
						  RULES_PEER;
}

static uint8_t protocol_of(const struct store_rule *rule)
{
	return !strcmp(rule->protocol, "tcp") ? IPPROTO_TCP :
		!strcmp(rule->protocol, "udp")	? IPPROTO_UDP :
		!strcmp(rule->protocol, "icmp") ? IPPROTO_ICMP :
						  0;
}

/* As the firewall takes them; prefixes stay the rules'. */
static struct rules_own *own_of(const struct fence_rules *rules)
{
	struct rules_own *own = xcalloc(rules->n + 1, sizeof(*own));

	for (uint32_t i = 0; i < rules->n; i++) {
		const struct store_rule *r = &rules->of[i];

		own[i] = (struct rules_own){ r->number, direction_of(r),
			!strcmp(r->verdict, "allow"), protocol_of(r), r->first_port, r->last_port,
			r->prefix[0] ? r->prefix : NULL };
	}
	return own;
}

static void free_state(struct state *s)
{
	free(s->guests);
	free(s->ports);
	free(s->rates);
	free(s->optional);
	free(s->rules_guests);
	free(s->rules_ports);
	fence_rules_free(&s->rules);
	free(s->rules_own);
}
#define CLEANUP_STATE __attribute__((cleanup(free_state)))

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

static struct rules_guest guest_of(const struct store_guest *g)
{
	return (struct rules_guest){ .number = g->number,
		.address4 = or_null(g->address4),
		.address6 = or_null(g->address6),
		.more = or_null(g->more) };
}

struct rules_base fence_base(const struct config *config)
{
	return (struct rules_base){ config->instance, config->pool4, config->pool6, config->run,
		config->protect, (uint32_t)config->connections,
		(uint32_t)config->new_connections, config->pools };
}

/* Bits are said, bytes are counted. */
static struct rules_guest rates_of(const struct store_tenant *t)
{
	struct rules_guest ret = { .packets = t->limits.packets };

	quota_rates(t, &ret.up, &ret.down);
	ret.up /= 8;
	ret.down /= 8;
	return ret;
}

/*
 * The row is written before a guest's rules are, and says so before they are taken away: what a row
 * means is never less than what may run, and nothing that is being destroyed comes back.
 */
static int add_guest(void *data, const struct store_tenant *t)
{
	bool meant = t->guest.intent == STORE_GUEST_CREATING ||
		t->guest.intent == STORE_GUEST_PRESENT;
	struct state *s = data;

	if (t->guest.intent == STORE_GUEST_NONE || (!meant && !s->verify))
		return 0;
	if (s->n_guests == s->cap_guests) {
		s->cap_guests = s->cap_guests ? 2 * s->cap_guests : 64;
		s->guests = reallocarray(s->guests, s->cap_guests, sizeof(*s->guests));
		s->optional = reallocarray(s->optional, s->cap_guests, sizeof(*s->optional));
		s->rates = reallocarray(s->rates, s->cap_guests, sizeof(*s->rates));
		if (!s->guests || !s->optional || !s->rates)
			return -ENOMEM;
	}
	s->optional[s->n_guests] = s->verify && strcmp(life_state(s->verify, t, NULL), "running");
	s->rates[s->n_guests] = rates_of(t);
	s->guests[s->n_guests++] = t->guest;
	return 0;
}

static int add_port(void *data, const struct store_port *port)
{
	struct store_port p = *port;
	struct state *s = data;

	if (s->guest) {
		memcpy(p.address4, s->guest->address4, sizeof(p.address4));
		memcpy(p.address6, s->guest->address6, sizeof(p.address6));
	}
	if (!p.address4[0] && !p.address6[0])
		return 0;
	if (s->n_ports == s->cap_ports) {
		s->cap_ports = s->cap_ports ? 2 * s->cap_ports : 64;
		s->ports = reallocarray(s->ports, s->cap_ports, sizeof(*s->ports));
		if (!s->ports)
			return -ENOMEM;
	}
	s->ports[s->n_ports++] = p;
	return 0;
}

static struct rules_port rules_of(const struct store_port *p)
{
	return (struct rules_port){ !strcmp(p->protocol, "udp") ? IPPROTO_UDP : IPPROTO_TCP,
		p->host_port, p->guest_port, or_null(p->address4), or_null(p->address6) };
}

static int collect(struct store *store, struct state *s, struct err *err)
{
	int r = store_tenant_each(store, add_guest, s, err);

	if (r == 0)
		r = store_port_each(store, NULL, add_port, s, err);
	if (r == 0)
		r = store_rule_each(store, NULL, add_meant_rule, &s->rules, err);
	s->rules_own = own_of(&s->rules);
	s->rules_guests = xcalloc(s->n_guests + 1, sizeof(*s->rules_guests));
	s->rules_ports = xcalloc(s->n_ports + 1, sizeof(*s->rules_ports));
	for (uint32_t i = 0; i < s->n_guests; i++) {
		s->rules_guests[i] = guest_of(&s->guests[i]);
		s->rules_guests[i].optional = s->optional[i];
		s->rules_guests[i].up = s->rates[i].up;
		s->rules_guests[i].down = s->rates[i].down;
		s->rules_guests[i].packets = s->rates[i].packets;
	}
	for (uint32_t i = 0; i < s->n_ports; i++)
		s->rules_ports[i] = rules_of(&s->ports[i]);
	s->value = (struct rules_state){ s->rules_guests, s->n_guests, s->rules_ports, s->n_ports,
		s->rules_own, s->rules.n };
	return r;
}

int fence_verify(const struct config *config, struct store *store, rules_drift_fn fn, void *data,
	struct err *err)
{
	const struct rules_base base = fence_base(config);
	CLEANUP_STATE struct state state = { .verify = config };
	int r = collect(store, &state, err);

	return r == 0 ? rules_verify(&base, &state.value, fn, data, err) : r < 0 ? r : -EIO;
}

int fence_publish(
	const struct config *config, const struct store_port *port, bool on, struct err *err)
{
	const struct rules_base base = fence_base(config);
	const struct rules_port rules = rules_of(port);

	if (!port->address4[0] && !port->address6[0])
		return 0;
	return on ? rules_add_ports(&base, &rules, 1, err) :
		    rules_remove_ports(&base, &rules, 1, err);
}

int fence_rules_check(
	const struct config *config, const struct fence_rules *rules, struct err *err)
{
	const struct rules_base base = fence_base(config);
	CLEANUP_FREE struct rules_own *own = own_of(rules);

	return rules_check_own(&base, own, rules->n, err);
}

int fence_end_guest(
	const struct config *config, const struct store_guest *guest, struct err *err)
{
	const struct rules_base base = fence_base(config);
	const struct rules_guest g = guest_of(guest);

	return rules_end_guest(&base, &g, err);
}

int fence_address(const struct config *config, const struct store_guest *guest,
	const char *address, bool on, struct err *err)
{
	const struct rules_base base = fence_base(config);

	return on ? rules_add_address(&base, guest->number, address, err) :
		    rules_remove_address(&base, guest->number, address, err);
}

int fence_end_address(const struct config *config, const struct store_guest *guest,
	const char *address, struct err *err)
{
	const struct rules_base base = fence_base(config);
	const struct rules_guest g = { .number = guest->number, .more = address };

	return rules_end_guest(&base, &g, err);
}

int fence_rules_change(const struct config *config, struct store *store,
	const struct store_guest *guest, const struct fence_rules *from,
	const struct fence_rules *to, struct err *err)
{
	const struct rules_guest g = guest_of(guest);
	const struct rules_base base = fence_base(config);
	CLEANUP_FREE struct rules_own *old = own_of(from), *new = own_of(to);
	int r;

	if (guest->intent == STORE_GUEST_NONE || guest->intent == STORE_GUEST_DESTROYING)
		return 0;
	r = rules_change_own(&base, old, from->n, new, to->n, NULL);
	if (r != 0)
		r = fence_restore(config, store, err);
	return r ? r : rules_end_disallowed(&base, &g, old, from->n, new, to->n, err);
}

/* Nothing that runs is under fewer rules than it has: those of a guest that comes or goes. */
static int arrange_rules(const struct config *config, struct store *store,
	const struct store_tenant *tenant, bool on, struct err *err)
{
	CLEANUP_FENCE_RULES struct fence_rules rules = { 0 };
	const struct rules_base base = fence_base(config);
	CLEANUP_FREE struct rules_own *own = NULL;
	int r = fence_rules_get(store, tenant->name, &rules, err);

	for (uint32_t i = 0; i < rules.n; i++)
		rules.of[i].number = tenant->guest.number;
	own = own_of(&rules);
	if (r != 0 || rules.n == 0)
		return r;
	return on ? rules_add_own(&base, own, rules.n, err) :
		    rules_remove_own(&base, own, rules.n, err);
}

static int arrange_ports(const struct config *config, struct store *store,
	const struct store_tenant *tenant, bool on, struct err *err)
{
	CLEANUP_STATE struct state s = { .guest = &tenant->guest };
	const struct rules_base base = fence_base(config);
	int r = store_port_each(store, tenant->name, add_port, &s, err);

	if (r != 0 || s.n_ports == 0)
		return r;
	s.rules_ports = xcalloc(s.n_ports, sizeof(*s.rules_ports));
	for (uint32_t i = 0; i < s.n_ports; i++)
		s.rules_ports[i] = rules_of(&s.ports[i]);
	return on ? rules_add_ports(&base, s.rules_ports, s.n_ports, err) :
		    rules_remove_ports(&base, s.rules_ports, s.n_ports, err);
}

int fence_arrange(const struct config *config, struct store *store,
	const struct store_tenant *tenant, bool on, struct err *err)
{
	int r = arrange_rules(config, store, tenant, on, err);

	return r ? r : arrange_ports(config, store, tenant, on, err);
}

/* Exclusive: no guest comes or goes between reading what there is and putting it into the kernel. */
int fence_restore(const struct config *config, struct store *store, struct err *err)
{
	const struct rules_base base = fence_base(config);
	CLEANUP_STATE struct state state = { 0 };
	CLEANUP_CLOSE int lock = -1;
	int r = lock_take(config, LOCK_RULES, false, RULES_WAIT_MS, &lock, err);

	if (r == 0)
		r = collect(store, &state, err);
	if (r == 0)
		r = traffic_collect(config, store, err);
	return r == 0 ? rules_restore_state(&base, &state.value, err) : r;
}

/* Canonical JSON: sorted keys, no spaces. */
void fence_note(const struct config *config, const char *who, const char *what)
{
	CLEANUP_BUF struct buf leaf = { 0 };
	time_t now = time(NULL);
	struct err err = { 0 };
	char text[32];
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	buf_puts(&leaf, "{\"by\":");
	buf_json(&leaf, who);
	buf_puts(&leaf, ",\"change\":");
	buf_json(&leaf, what);
	buf_printf(&leaf, ",\"time\":\"%s\",\"type\":\"firewall\"}", text);
	if (ledger_append(config->ledger, leaf.data, leaf.len, NULL, &err) != 0)
		log_err("cannot note it in the ledger: %s", err.text);
}

/* Nobody has the socket meanwhile: what is read is what the kernel gets. */
static int restore(
	const struct config *config, struct owner *owner, struct store *store, struct err *err)
{
	CLEANUP_STATE struct state state = { 0 };
	struct err why = { 0 };
	int r = collect(store, &state, err);

	/* The counts begin anew; a table without rules is worse than some that are lost. */
	if (r == 0 && traffic_collect(config, store, &why) != 0)
		log_warn("cannot save what guests sent and received: %s", why.text);
	return r == 0 ? owner_restore(owner, &state.value, err) : r;
}

/* Until it works: nothing is lent before, so that no guest starts without its rules. */
static void restore_surely(
	const struct config *config, struct owner *owner, struct store *store)
{
	char said[ERR_TEXT_MAX] = "";
	struct err err = { 0 };

	while (restore(config, owner, store, &err) != 0) {
		if (strcmp(said, err.text))
			log_err("cannot restore the firewall's rules: %s", err.text);
		memcpy(said, err.text, sizeof(said));
		poll(NULL, 0, RETRY_MS);
	}
}

static int keep(const struct config *config, struct owner *owner, struct store *store,
	struct err *err)
{
	struct owner_change change;
	int r;

	restore_surely(config, owner, store);
	if (!owner_owns(owner))
		log_notice("the firewall's table is not protected against others%s",
			strcmp(config->table, "watched") ? ": that takes Linux 6.9" : "");
	while ((r = owner_serve(owner, -1, &change, err)) >= 0) {
		if (r == 0)
			continue;
		restore_surely(config, owner, store);
		log_warn("%s %s of the firewall; restored", change.who[0] ? change.who : "somebody",
			change.what);
		fence_note(config, change.who, change.what);
	}
	return r;
}

int fence_keep(const struct config *config, int listener)
{
	const struct rules_base base = fence_base(config);
	CLEANUP_STORE struct store *store = NULL;
	struct owner *owner = NULL;
	struct err err = { 0 };
	int r = store_open(config->database, &store, &err);

	if (r == 0)
		r = owner_open(
			&base, listener, strcmp(config->table, "watched") != 0, &owner, &err);
	if (r == 0)
		r = keep(config, owner, store, &err);
	log_err("%s", err.text);
	owner_close(owner);
	return err_exit_status(r);
}
