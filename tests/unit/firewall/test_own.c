/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests' own rules as elements: own.golden, to be reviewed by eye; and against rule after rule. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firewall/own.h"
#include "firewall/pools.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

#define GOLDEN SOURCE_ROOT "/tests/unit/firewall/own.golden"
#define RULES_MAX 16

static const struct rules_base base = { "vm2", "10.66.0.0/16", "fd66::/64", NULL,
	"192.0.2.128/25 fd00:ec2::254/128", 0, 0 };

static struct policy policy(void)
{
	struct policy p;
	struct err err;

	cr_assert(policy_make(&base, &p, &err) == 0, "%s", err.text);
	return p;
}

static const char *const directions[] = { "in", "out", "peer" };

/* "in deny tcp 22-80 192.0.2.0/24": `line` is cut up, and what is made points into it. */
static struct rules_own parse(char *line)
{
	struct rules_own r = { .number = 7 };
	char *save = NULL, *word = strtok_r(line, " ", &save);

	while (r.direction < RULES_PEER && strcmp(word, directions[r.direction]))
		r.direction++;
	r.allow = !strcmp(strtok_r(NULL, " ", &save), "allow");
	word = strtok_r(NULL, " ", &save);
	r.protocol = !strcmp(word, "tcp") ? IPPROTO_TCP :
		!strcmp(word, "udp")	  ? IPPROTO_UDP :
		!strcmp(word, "icmp")	  ? IPPROTO_ICMP :
		!strcmp(word, "any")	  ? 0 :
					    IPPROTO_SCTP;
	word = strtok_r(NULL, " ", &save);
	if (word && !strpbrk(word, "./")) {
		r.first_port = r.last_port = (uint16_t)atoi(word);
		if (strchr(word, '-'))
			r.last_port = (uint16_t)atoi(strchr(word, '-') + 1);
		word = strtok_r(NULL, " ", &save);
	}
	r.prefix = word;
	return r;
}

/* What the rules come to: their elements, or why they cannot be. */
static void answer(const struct rules_own *rules, uint32_t n, struct buf *out)
{
	CLEANUP_RULESET struct ruleset s = { 0 };
	struct policy p = policy();
	struct err err;

	if (own_check(&p, rules, n, &err) != 0) {
		buf_printf(out, "! %s\n", err.text);
		return;
	}
	cr_expect(own_add(&s, &p, rules, n, &err) == 0, "%s", err.text);
	ruleset_sort(&s);
	for (size_t i = 0; i < s.n; i++) {
		buf_puts(out, "= ");
		ruleset_words(&s.of[i], &p, out);
		buf_puts(out, "\n");
	}
}

Test(own, rules_come_to_these_elements)
{
	static char wanted[65536];
	struct rules_own rules[RULES_MAX];
	struct buf made = { 0 };
	char *text, *rest, *line;
	uint32_t n = 0;

	cr_assert(fd_read_path(AT_FDCWD, GOLDEN, wanted, sizeof(wanted)) > 0);
	text = rest = strdup(wanted);
	while ((line = strsep(&rest, "\n"))) {
		if (*line == '=' || *line == '!')
			continue;
		if (n && (!*line || *line == '#')) {
			answer(rules, n, &made);
			n = 0;
		}
		buf_printf(&made, rest ? "%s\n" : "%s", line);
		if (*line && *line != '#') {
			cr_assert(n < RULES_MAX);
			rules[n++] = parse(line);
		}
	}
	cr_expect(!strcmp(made.data, wanted), GOLDEN " would be:\n%s", made.data);
	buf_free(&made);
	free(text);
}

/* --- the same verdict as rule after rule, wherever a packet is --- */

static uint32_t number(const uint8_t *bytes, int len)
{
	uint32_t n = 0;

	for (int i = 0; i < len; i++)
		n = n << 8 | bytes[i];
	return n;
}

/* What the elements say, and how many hold it. */
static int look_up(const struct ruleset *s, int direction, const struct address *a,
	uint8_t protocol, uint16_t port, int *ret_hits)
{
	int verdict = -1;

	*ret_hits = 0;
	for (size_t i = 0; i < s->n; i++) {
		const struct ruleset_element *e = &s->of[i];

		if (e->set != RULESET_IN4 + 2 * direction + (a->family == AF_INET6) ||
			protocol < e->key[4] || protocol > e->key_end[4] ||
			port < number(e->key + 8, 2) || port > number(e->key_end + 8, 2) ||
			memcmp(a->bytes, e->key + 12, a->len) < 0 ||
			memcmp(a->bytes, e->key_end + 12, a->len) > 0)
			continue;
		verdict = e->data[0] == NF_ACCEPT;
		++*ret_hits;
	}
	return verdict;
}

static int any(unsigned int *seed, int below)
{
	*seed = *seed * 1103515245 + 12345;
	return (int)(*seed >> 16) % below;
}

Test(own, elements_decide_as_the_rules_do_in_order)
{
	static const char *const prefixes[] = { NULL, "198.51.0.0/16", "198.51.100.0/24",
		"198.51.100.7/32", "128.0.0.0/1", "2001:db8::/32", "2001:db8::7/128" };
	static const char *const points[] = { "198.51.100.7", "198.51.100.8", "198.51.99.255",
		"198.52.0.0", "1.1.1.1", "255.255.255.255", "2001:db8::7", "2001:db8::8", "2001:db9::" };
	static const uint8_t protocols[] = { 0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP };
	static const uint8_t tried[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6, 47,
		0, 255 };
	static const uint16_t ports[] = { 1, 79, 80, 81, 90, 91, 65535 };
	struct policy p = policy();
	unsigned int seed = 1;

	for (int round = 0; round < 300; round++) {
		CLEANUP_RULESET struct ruleset s = { 0 };
		struct rules_own rules[6] = { 0 };
		struct err err;

		for (int i = 0; i < 6; i++) {
			rules[i] = (struct rules_own){ 7, any(&seed, 3), any(&seed, 2),
				protocols[any(&seed, 4)], 0, 0, prefixes[any(&seed, 7)] };
			if (rules[i].protocol == IPPROTO_TCP || rules[i].protocol == IPPROTO_UDP) {
				rules[i].first_port = ports[any(&seed, 4)];
				rules[i].last_port = ports[3 + any(&seed, 4)];
			}
		}
		cr_assert(own_add(&s, &p, rules, 6, &err) == 0, "%s", err.text);
		for (size_t k = 0; k < 3 * ARRAY_LEN(points) * ARRAY_LEN(tried) * ARRAY_LEN(ports);
			k++) {
			int direction = (int)(k % 3), hits = 0, wanted, found;
			const char *to = points[k / 3 % ARRAY_LEN(points)];
			uint8_t protocol = tried[k / 3 / ARRAY_LEN(points) % ARRAY_LEN(tried)];
			uint16_t port = ports[k / 3 / ARRAY_LEN(points) / ARRAY_LEN(tried)];
			struct address a;

			cr_assert(address_parse(to, strchr(to, ':') ? AF_INET6 : AF_INET, &a, NULL) == 0 ||
				  !strcmp(to, "255.255.255.255"));
			if (!strcmp(to, "255.255.255.255"))
				a = (struct address){ AF_INET, { 255, 255, 255, 255 }, 4, 32 };
			wanted = own_verdict(rules, 6, direction, protocol, port, &a);
			found = look_up(&s, direction, &a, protocol, port, &hits);
			cr_assert(wanted == found && hits == (wanted >= 0),
				"round %d, %s, protocol %d, port %d of %s: %d, not %d (%d elements)", round,
				directions[direction], protocol, port, to, found, wanted, hits);
		}
	}
}

Test(own, addresses_of_further_pools)
{
	static const struct {
		const char *which;
		uint64_t n;
		int result;
		const char *address; /* or words of the error */
	} cases[] = { { "203.0.113.0/29", 0, 0, "203.0.113.1" }, { "203.0.113.0/29", 5, 0, "203.0.113.6" },
		{ "203.0.113.0/29", 6, ERR_NOT_FOUND, "" }, { "203.0.113.2/31", 1, 0, "203.0.113.3" },
		{ "203.0.113.2/31", 2, ERR_NOT_FOUND, "" }, { "203.0.113.7", 0, 0, "203.0.113.7" },
		{ "198.51.100.7/32", 0, 0, "198.51.100.7" }, { "198.51.100.7/32", 1, ERR_NOT_FOUND, "" },
		{ "2001:DB8:77::/64", 0xffff, 0, "2001:db8:77::1:0" }, { "2001:db8:77:0::9", 0, 0, "2001:db8:77::9" },
		{ "203.0.113.8", 0, ERR_USAGE, "is in no pool" }, { "203.0.113.0/28", 0, ERR_USAGE, "is in no pool" },
		{ "10.66.0.9", 0, ERR_USAGE, "each guest has one address of already" },
		{ "203.0.113.1/29", 0, ERR_USAGE, "bits are set" }, { "", 0, ERR_USAGE, "no address" },
		{ "x", 0, ERR_USAGE, "is not an IPv4 address" } };
	static const char *const bad[] = { "10.66.5.0/24", "203.0.113.0/24 203.0.113.7/32", "fd66::/32",
		"203.0.113.0", "x" };
	struct rules_base b = base;
	struct err err = { 0 };
	char text[POOLS_TEXT_MAX];

	b.pools = "203.0.113.0/29 198.51.100.7/32 2001:db8:77::/64";
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		err.text[0] = '\0';
		cr_expect(pools_address(&b, cases[i].which, cases[i].n, text, &err) == cases[i].result,
			"%s: %s", cases[i].which, err.text);
		cr_expect(strstr(cases[i].result ? err.text : text, cases[i].address), "%s: %s %s",
			cases[i].which, text, err.text);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		b.pools = bad[i];
		cr_expect(rules_check(&b, &err) == ERR_USAGE, "%s", bad[i]);
	}
}

Test(own, too_many_elements_are_refused)
{
	static struct rules_own many[120];
	CLEANUP_RULESET struct ruleset s = { 0 };
	struct policy p = policy();
	struct err err = { 0 };
	char text[120][24];

	/* Each cuts a hole of ports and addresses, at a corner of the one before. */
	for (int i = 0; i < 119; i++) {
		snprintf(text[i], sizeof(text[i]), "198.51.%d.0/25", i);
		many[i] = (struct rules_own){ 7, RULES_IN, i % 2, IPPROTO_TCP,
			(uint16_t)(100 * i + 1), (uint16_t)(100 * i + 150), text[i] };
	}
	many[119] = (struct rules_own){ 7, RULES_IN, true, 0, 0, 0, NULL };
	cr_expect(own_add(&s, &p, many, 10, &err) == 0, "%s", err.text);
	cr_expect(own_add(&s, &p, many, 120, &err) == ERR_USAGE, "%zu elements", s.n);
	cr_expect(strstr(err.text, "rule 120 overlaps too many"), "%s", err.text);
}
