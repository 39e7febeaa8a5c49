/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/fence.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "firewall/owner.h"
#include "firewall/reassembly.h"
#include "provision/audit/ledger.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/daemon/life.h"
#include "provision/daemon/locks.h"
#include "provision/daemon/quota.h"
#include "provision/daemon/traffic.h"
#include "provision/guest/run.h"
#include "provision/guest/supervisors.h"

/* Those that start or stop a guest hold the lock shared for as long as that takes. */
#define RULES_WAIT_MS 60000

#define RETRY_MS 500

/* A guest that its owner's others may reach. */
struct kin {
	char owner[STORE_NAME_SIZE];
	uint32_t number;
};

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
	struct kin *kin;
	struct rules_pair *pairs;
	uint32_t n_kin, n_pairs;
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
	free(s->kin);
	free(s->pairs);
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
		(uint32_t)config->new_connections, (uint32_t)config->fragments, config->pools,
		config->masquerade };
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

/* Whether it is one that its owner's others may reach. */
static bool is_kin(const struct store_tenant *t)
{
	return t->owner[0] && t->limits.siblings == LIMITS_SIBLINGS_YES &&
		(t->guest.intent == STORE_GUEST_CREATING || t->guest.intent == STORE_GUEST_PRESENT);
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
	s->optional[s->n_guests] = s->verify && strcmp(life_state(s->verify, t), "running");
	s->rates[s->n_guests] = rates_of(t);
	s->guests[s->n_guests++] = t->guest;
	if (!is_kin(t))
		return 0;
	s->kin = reallocarray(s->kin, s->n_kin + 1, sizeof(*s->kin));
	if (!s->kin)
		return -ENOMEM;
	s->kin[s->n_kin].number = t->guest.number;
	memcpy(s->kin[s->n_kin++].owner, t->owner, sizeof(t->owner));
	return 0;
}

static int compare_kin(const void *a, const void *b)
{
	return strcmp(((const struct kin *)a)->owner, ((const struct kin *)b)->owner);
}

/* Each with each of the same owner. */
static void pair_kin(struct state *s)
{
	uint32_t cap = 0;

	if (s->n_kin)
		qsort(s->kin, s->n_kin, sizeof(*s->kin), compare_kin);
	for (uint32_t i = 0, end = 0; i < s->n_kin; i++) {
		uint32_t begin = i;

		while (begin > 0 && !strcmp(s->kin[begin - 1].owner, s->kin[i].owner))
			begin--;
		for (end = i; end < s->n_kin && !strcmp(s->kin[end].owner, s->kin[i].owner); end++)
			continue;
		for (uint32_t j = begin; j < end; j++) {
			if (j == i)
				continue;
			if (s->n_pairs == cap) {
				cap = cap ? 2 * cap : 64;
				s->pairs = reallocarray(s->pairs, cap, sizeof(*s->pairs));
				if (!s->pairs)
					abort();
			}
			s->pairs[s->n_pairs++] =
				(struct rules_pair){ s->kin[i].number, s->kin[j].number };
		}
	}
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
	pair_kin(s);
	s->value = (struct rules_state){ s->rules_guests, s->n_guests, s->rules_ports, s->n_ports,
		s->rules_own, s->rules.n, s->pairs, s->n_pairs };
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
	const struct fence_rules *to, bool ends, struct err *err)
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
	return r || !ends ? r : rules_end_disallowed(&base, &g, old, from->n, new, to->n, err);
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

/* --- siblings --- */

/* The guests of an owner's tenants, but one's own; or those of some numbers. */
struct relatives {
	const struct store_tenant *of;
	const uint32_t *numbers;
	uint32_t n_numbers;
	struct store_tenant *tenants;
	uint32_t n;
};

static void free_relatives(struct relatives *r)
{
	free(r->tenants);
}
#define CLEANUP_RELATIVES __attribute__((cleanup(free_relatives)))

static bool is_one_of(const struct store_tenant *t, const uint32_t *numbers, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (t->guest.number == numbers[i])
			return true;
	return false;
}

static int add_relative(void *data, const struct store_tenant *t)
{
	struct relatives *r = data;
	bool wanted = r->numbers ? is_one_of(t, r->numbers, r->n_numbers) :
				   is_kin(t) && !strcmp(t->owner, r->of->owner);

	if (!t->guest.number || !wanted || t->id == r->of->id)
		return 0;
	r->tenants = reallocarray(r->tenants, r->n + 1, sizeof(*r->tenants));
	if (!r->tenants)
		return -ENOMEM;
	r->tenants[r->n++] = *t;
	return 0;
}

static int end_between(const struct config *config, struct store *store,
	const struct store_tenant *a, const struct store_tenant *b, struct err *err)
{
	CLEANUP_FENCE_RULES struct fence_rules ra = { 0 }, rb = { 0 };
	const struct rules_guest guests[2] = { guest_of(&a->guest), guest_of(&b->guest) };
	const struct rules_base base = fence_base(config);
	CLEANUP_FREE struct rules_own *first = NULL, *second = NULL;
	int r = fence_rules_get(store, a->name, &ra, err);

	if (r == 0)
		r = fence_rules_get(store, b->name, &rb, err);
	first = own_of(&ra);
	second = own_of(&rb);
	if (r != 0)
		return r;
	return rules_end_between(&base, guests, (const struct rules_own *[]){ first, second },
		(const uint32_t[]){ ra.n, rb.n }, err);
}

/* Under LOCK_RULES, shared. */
static int arrange_siblings(const struct config *config, struct store *store,
	const struct store_tenant *tenant, bool on, struct err *err)
{
	CLEANUP_RELATIVES struct relatives all = { .of = tenant }, former = { .of = tenant };
	const struct rules_base base = fence_base(config);
	CLEANUP_FREE uint32_t *numbers = NULL, *gone = NULL;
	uint32_t n_gone = 0;
	int r = on && is_kin(tenant) ? store_tenant_each(store, add_relative, &all, err) : 0;

	numbers = xcalloc(all.n + 1, sizeof(*numbers));
	for (uint32_t i = 0; i < all.n; i++)
		numbers[i] = all.tenants[i].guest.number;
	if (r == 0)
		r = rules_set_siblings(
			&base, tenant->guest.number, numbers, all.n, &gone, &n_gone, err);
	if (r != 0 || n_gone == 0)
		return r;
	former.numbers = gone;
	former.n_numbers = n_gone;
	r = store_tenant_each(store, add_relative, &former, err);
	for (uint32_t i = 0; r == 0 && i < former.n; i++)
		r = end_between(config, store, tenant, &former.tenants[i], err);
	return r;
}

int fence_siblings(const struct config *config, struct store *store,
	const struct store_tenant *tenant, struct err *err)
{
	CLEANUP_CLOSE int lock = -1;
	struct err why = { 0 };
	int r;

	if (!tenant->guest.number)
		return 0;
	r = lock_take(config, LOCK_RULES, true, RULES_WAIT_MS, &lock, err);
	if (r != 0)
		return r;
	r = arrange_siblings(config, store, tenant, true, &why);
	if (r == -ENOENT)
		return 0;
	return r ? err_set(err, r, "%s", why.text) : 0;
}

int fence_arrange(const struct config *config, struct store *store,
	const struct store_tenant *tenant, bool on, struct err *err)
{
	struct err why = { 0 };
	int r = arrange_rules(config, store, tenant, on, err);

	if (r == 0)
		r = arrange_ports(config, store, tenant, on, err);
	if (r != 0)
		return r;
	r = arrange_siblings(config, store, tenant, on, &why);
	/* Where there is no table nobody reaches anybody. */
	if (r == -ENOENT && !on)
		return 0;
	return r ? err_set(err, r, "%s", why.text) : 0;
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
	if (r == 0)
		r = rules_restore_state(&base, &state.value, err);
	return r == 0 ? rules_end_forbidden(&base, &state.value, err) : r;
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
	const struct rules_base base = fence_base(config);
	CLEANUP_STATE struct state state = { 0 };
	struct err why = { 0 };
	int r = collect(store, &state, err);

	/* The counts begin anew; a table without rules is worse than some that are lost. */
	if (r == 0 && traffic_collect(config, store, &why) != 0)
		log_warn("cannot save what guests sent and received: %s", why.text);
	if (r == 0)
		r = owner_restore(owner, &state.value, err);
	/* The rules do not look at a connection again that began while they were not there. */
	if (r == 0 && rules_end_forbidden(&base, &state.value, &why) != 0)
		log_warn("cannot end the connections that are not allowed: %s", why.text);
	return r;
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

/* What those that run guests have of the owner before. */
struct heritage {
	const struct config *config;
	int socket; /* or -1 */
	uint32_t without; /* how many that run a guest do not hold it */
};

/* Of supervisors_each(). One that has no state yet holds it before its guest's link is there. */
static void look_for_socket(void *data, const struct supervisor_found *found)
{
	CLEANUP_CLOSE int pidfd = process_open(found->pid, found->start), socket = -1;
	struct heritage *h = data;
	struct run_state state;

	socket = pidfd < 0 ? pidfd : owner_take(pidfd);
	if (socket >= 0 && h->socket < 0)
		h->socket = steal_fd(&socket);
	else if (socket < 0 && run_look(h->config, found->name, &state) == 0 &&
		state.supervisor_pid == found->pid)
		h->without++;
}

static int open_owner(const struct config *config, const struct rules_base *base, int listener,
	struct owner **ret, struct err *err)
{
	struct heritage h = { .config = config, .socket = -1 };

	supervisors_each(config, look_for_socket, &h);
	return owner_open(base, listener, h.socket,
		!strcmp(config->table, "watched") ? OWNER_WATCHES :
			h.without		  ? OWNER_OWNS :
						    OWNER_IS_HELD,
		ret, err);
}

static void tell_setting(void *data, const char *setting, const char *was, const char *is)
{
	(void)data;
	log_notice("%s was %s, and is %s now, for the fragments that guests send", setting, was, is);
}

static int keep(const struct config *config, struct owner *owner, struct store *store,
	struct err *err)
{
	struct owner_change change;
	int r;

	restore_surely(config, owner, store);
	if (reassembly_provide(tell_setting, NULL, err) != 0)
		log_warn("%s", err->text);
	if (!owner_owns(owner))
		log_notice("the firewall's table is not protected against others%s",
			strcmp(config->table, "watched") ?
				": that takes Linux 6.9, or 5.12 where all guests have started since VM2 knows how" :
				"");
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
		r = open_owner(config, &base, listener, &owner, &err);
	if (r == 0)
		r = keep(config, owner, store, &err);
	log_err("%s", err.text);
	owner_close(owner);
	return err_exit_status(r);
}
