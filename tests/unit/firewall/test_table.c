/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table itself: differences, loss, refusal, and many guests. */
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "provision/base/cleanup.h"
#include "tests/unit/firewall/world.h"

static const struct rules_base bounded = { "vm2", "10.66.0.0/16", "fd66::/64", NULL,
	"192.0.2.128/25", 8192, 1000, 1000 };

Test(table, own_rules_of_a_thousand_guests, .timeout = 60)
{
	static struct rules_guest many[1000];
	static struct rules_own own[3000];
	static char text[1000][24];
	static const struct rules_own one[] = {
		{ 5000, RULES_OUT, false, IPPROTO_TCP, 25, 25, NULL },
		{ 5000, RULES_IN, true, IPPROTO_TCP, 8000, 8099, "198.51.100.0/24" } };
	struct rules_state state = { many, 1000, NULL, 0, own, 3000 };
	struct buf b = { 0 };
	struct err err = { 0 };
	double t0, t1, t2;

	be_host();
	for (uint32_t i = 0; i < 1000; i++) {
		snprintf(text[i], 24, "10.66.%u.%u", i / 250, i % 250 + 1);
		many[i] = (struct rules_guest){ i + 1, text[i], NULL };
		own[3 * i] = one[0];
		own[3 * i + 1] = one[1];
		own[3 * i + 2] = (struct rules_own){ 0, RULES_PEER, true, 0, 0, 0, "10.66.0.0/24" };
		for (int k = 0; k < 3; k++)
			own[3 * i + k].number = i + 1;
	}
	for (int n = 0; n <= 1000; n += 1000) {
		state.n_own = 3 * n;
		t0 = now_ms();
		cr_assert(rules_restore_state(&base, &state, &err) == 0, "%s", err.text);
		cr_expect_str_eq(drift(&state, &b), "");
		t1 = now_ms();
		cr_assert(rules_change_own(&base, NULL, 0, one, 2, &err) == 0, "%s", err.text);
		t2 = now_ms();
		cr_assert(rules_change_own(&base, one, 2, NULL, 0, &err) == 0, "%s", err.text);
		cr_log_info("%d guests with rules: restore and verify %.2f ms, add two rules %.3f ms, "
			    "remove them %.3f ms", n, t1 - t0, t2 - t1, now_ms() - t2);
	}
	cr_expect_str_eq(drift(&state, &b), "");
	buf_free(&b);
}

Test(table, differences_are_named)
{
	static const struct {
		const char *command, *told;
	} cases[] = {
		{ "delete element inet vm2 source4 { " VM2_1 " . 02:67:00:00:00:01 . 10.66.0.1 }",
		  "missing source4 { \"vm2-1\" . 02:67:00:00:00:01 . 10.66.0.1 }\n" },
		{ "delete element arp vm2 claims { " VM2_1 " . 02:67:00:00:00:01 . "
		  "02:67:00:00:00:01 . 10.66.0.1 }",
		  "missing claims { \"vm2-1\" . 02:67:00:00:00:01 . 02:67:00:00:00:01 . "
		  "10.66.0.1 }\n" },
		{ "flush chain arp vm2 claimed", "missing chain claimed: rule 1\n" },
		{ "flush chain inet vm2 drop_sent", "missing chain drop_sent: rule 1\n" },
		{ "delete element inet vm2 plain_sent { " VM2_1 " }",
		  "missing plain_sent { \"vm2-1\" }\n" },
		/* Of no guest's that is. */
		{ "add element inet vm2 guests { " VM2_77 " . 02:67:00:00:00:4d }",
		  "unexpected guests { \"vm2-77\" . 02:67:00:00:00:4d }\n" },
		{ "delete element inet vm2 publish4 { udp . 53 }",
		  "missing publish4 { udp . 53 : 10.66.0.2 . 5353 }\n" },
		{ "flush chain inet vm2 input", "missing chain input: rule 1\n" },
		{ "insert rule inet vm2 forward accept", "changed chain forward: rule 1\n" },
		{ "add rule inet vm2 forward accept",
		  "unexpected chain forward: a rule more than it has, at place 12\n" },
	};
	struct buf b = { 0 };
	struct err err = { 0 };
	char text[512], command[256];

	be_host();
	cr_assert(rules_restore_state(&base, &full, &err) == 0, "%s", err.text);
	cr_expect_str_eq(drift(&full, &b), "");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(command, sizeof(command), "nft '%s' 2>&1", cases[i].command);
		output(command, text, sizeof(text));
		cr_expect(!text[0], "%s: %s", cases[i].command, text);
		cr_expect(strstr(drift(&full, &b), cases[i].told) == b.data, "%s: %s",
			cases[i].command, b.data);
		cr_expect(rules_restore_state(&base, &full, &err) == 0, "%s", err.text);
		cr_expect_str_eq(drift(&full, &b), "");
	}
	output("nft delete table inet vm2", text, sizeof(text));
	cr_expect(strstr(drift(&full, &b), "missing set guests\n"), "%s", b.data);
	buf_free(&b);
}

Test(table, a_stopped_guest_is_no_difference)
{
	static const struct rules_guest stopped[] = { { 1, "10.66.0.1", "fd66::1", false },
		{ 2, "10.66.0.2", "fd66::2", true } };
	const struct rules_state state = { stopped, 2, NULL, 0 };
	struct buf b = { 0 };
	struct err err = { 0 };

	be_host();
	cr_assert(rules_restore(&base, stopped, 2, &err) == 0, "%s", err.text);
	cr_expect_str_eq(drift(&state, &b), "");
	cr_assert(rules_remove_guest(&base, &stopped[1], &err) == 0, "%s", err.text);
	cr_expect_str_eq(drift(&state, &b), "");
	buf_free(&b);
}

Test(table, removed_guest_gets_nothing)
{
	struct world w = make_world();
	struct err err = { 0 };

	cr_expect(within(w.guest[0], do_ping, "192.0.2.2"));
	cr_expect(rules_remove_guest(&base, &guests[0], &err) == 0, "%s", err.text);
	cr_expect(!within(w.guest[0], do_ping, "192.0.2.2"));
	cr_expect(!within(w.guest[0], do_ping, LINK_GATEWAY4));
	cr_expect(within(w.guest[1], do_ping, "192.0.2.2"));
	cr_expect(rules_add_guest(&base, &guests[0], &err) == 0);
	cr_expect(within(w.guest[0], do_ping, "192.0.2.2"));
}

Test(table, missing_table_is_told)
{
	struct err err = { 0 };

	be_host();
	cr_expect(rules_present(&base, &err) == 0);
	cr_expect(rules_add_guest(&base, &guests[0], &err) == -ENOENT);
	cr_expect(strstr(err.text, "table inet vm2"), "%s", err.text);
	cr_expect(rules_remove_guest(&base, &guests[0], &err) == 0);
	cr_expect(rules_remove(&base, &err) == 0, "%s", err.text);
	cr_expect(rules_present(&base, &err) == 0);
}

Test(table, flushed_table_is_noticed)
{
	struct err err = { 0 };
	char text[256];

	be_host();
	cr_expect(rules_restore(&base, guests, 2, &err) == 0, "%s", err.text);
	cr_expect(rules_present(&base, &err) == 1, "%s", err.text);
	output("nft flush chain inet vm2 input", text, sizeof(text));
	cr_expect(rules_present(&base, &err) == 0);
	cr_expect(rules_restore(&base, guests, 2, &err) == 0 && rules_present(&base, &err) == 1);
	output("nft flush chain inet vm2 drop_sent", text, sizeof(text));
	cr_expect(rules_present(&base, &err) == 0);
	cr_expect(rules_restore(&base, guests, 2, &err) == 0 && rules_present(&base, &err) == 1);
	output("nft delete table arp vm2", text, sizeof(text));
	cr_expect(rules_present(&base, &err) == 0);
	cr_expect(rules_restore(&base, guests, 2, &err) == 0, "%s", err.text);
	cr_expect(rules_present(&base, &err) == 1);
}

/* The manual shows the table; what it shows must be what is there. */
Test(table, manual_shows_this_table)
{
	static char text[16384], manual[49152];
	struct err err = { 0 };

	be_host();
	output("nft --version", text, sizeof(text));
	if (!strstr(text, "v1.0.6"))
		cr_skip_test("needs nft 1.0.6: others print the same in other words");
	/* nft(8) prints the name of an interface that is there. */
	output("ip link add vm2-1 index " VM2_1 " type veth 2>&1", text, sizeof(text));
	cr_assert(!*text, "%s", text);
	cr_expect(rules_restore(&bounded, guests, 1, &err) == 0, "%s", err.text);
	output("nft list table inet vm2", text, sizeof(text));
	cr_assert(fd_read_path(AT_FDCWD, SOURCE_ROOT "/docs/FIREWALL", manual, sizeof(manual)) > 0);
	cr_expect(strstr(manual, text), "docs/FIREWALL does not hold:\n%s", text);
	output("nft list table arp vm2", text, sizeof(text));
	cr_expect(strstr(manual, text), "docs/FIREWALL does not hold:\n%s", text);
}

Test(table, each_act_may_be_repeated)
{
	struct rules_guest half = { 1, "10.66.0.1", NULL };
	struct err err = { 0 };
	char text[8192];

	be_host();
	for (int i = 0; i < 2; i++) {
		cr_expect(rules_restore(&base, guests, 2, &err) == 0, "%s", err.text);
		cr_expect(rules_present(&base, &err) == 1);
	}
	for (int i = 0; i < 2; i++)
		cr_expect(rules_add_guest(&base, &guests[0], &err) == 0, "%s", err.text);
	/* Some elements are gone already: the others go all the same. */
	cr_expect(rules_remove_guest(&base, &half, &err) == 0, "%s", err.text);
	for (int i = 0; i < 2; i++)
		cr_expect(rules_remove_guest(&base, &guests[0], &err) == 0, "%s", err.text);
	output("nft list table inet vm2", text, sizeof(text));
	cr_expect(!strstr(text, VM2_1) && strstr(text, VM2_2 " . 02:67:00:00:00:02 . 10.66.0.2"), "%s", text);
	for (int i = 0; i < 2; i++)
		cr_expect(rules_remove(&base, &err) == 0, "%s", err.text);
	cr_expect(rules_present(&base, &err) == 0);
}

/* A socket whose queue is full of answers that nobody has read: the next is lost. */
static void fill_queue(struct netlink *nl)
{
	int fd = mnl_socket_get_fd(nl->sock), size = 1;
	struct {
		struct nlmsghdr head;
		struct nfgenmsg body;
	} ask = { { sizeof(ask), NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
			  NLM_F_REQUEST | NLM_F_ACK, 1, 0 },
		{ 0 } };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	char byte;

	cr_assert(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) == 0);
	for (int i = 0; i < 100; i++)
		(void)!sendto(fd, &ask, sizeof(ask), 0, (struct sockaddr *)&kernel, sizeof(kernel));
	cr_assert(recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0 || errno == ENOBUFS);
}

Test(table, a_lost_answer_is_asked_for_again)
{
	const struct rules_state state = { .guests = guests, .n_guests = 2 };
	struct buf b = { 0 };
	struct err err = { 0 };
	struct netlink nl;

	be_host();
	for (int i = 0; i < 3; i++) {
		cr_assert(netlink_open(&nl, NETLINK_NETFILTER, &err) == 0, "%s", err.text);
		nl.first_seq = nl.next_seq = 1000;
		fill_queue(&nl);
		cr_expect(rules_restore_on(&nl, &base, &state, &err) == 0, "%s", err.text);
		cr_expect(rules_verify(&base, &state, count_drift, &b, &err) == 0, "%s", b.data);
		/* What is no batch may have been done or not: that is said. */
		fill_queue(&nl);
		nl.next_seq = nl.first_seq = 5000;
		route_delete_link(&nl, "nothing");
		cr_expect(netlink_exchange(&nl, "x", NULL, NULL, &err) == -ENOBUFS, "%s", err.text);
		netlink_close(&nl);
	}
	buf_free(&b);
}

Test(table, other_tables_are_untouched)
{
	struct rules_base other = { "vm2b", "10.67.0.0/16", NULL };
	struct err err = { 0 };
	char text[4096];

	be_host();
	output("nft add table inet mine; nft add chain inet mine c", text, sizeof(text));
	cr_expect(rules_restore(&base, guests, 2, &err) == 0);
	cr_expect(rules_restore(&other, NULL, 0, &err) == 0, "%s", err.text);
	cr_expect(rules_remove(&base, &err) == 0);
	output("nft list tables; nft list table inet mine", text, sizeof(text));
	cr_expect(
		strstr(text, "inet vm2b") && strstr(text, "chain c") && !strstr(text, "inet vm2\n"),
		"%s", text);
}

Test(table, ten_thousand_guests, .timeout = 60)
{
	static struct rules_guest many[10000];
	static char text[2][10000][24];
	struct rules_guest one = { 20000, "10.66.200.1", "fd66::ffff" };
	struct err err = { 0 };
	char count[64];
	double t0, t1, t2, t3;

	be_host();
	for (unsigned int i = 0; i < 10000; i++) {
		snprintf(text[0][i], 24, "10.66.%u.%u", i / 250, i % 250 + 1);
		snprintf(text[1][i], 24, "fd66::%x", i + 1);
		many[i] = (struct rules_guest){ i + 1, text[0][i], text[1][i] };
	}
	for (int n = 0; n <= 10000; n += 10000) {
		t0 = now_ms();
		cr_assert(rules_restore(&base, many, n, &err) == 0, "%s", err.text);
		t1 = now_ms();
		cr_assert(rules_add_guest(&base, &one, &err) == 0, "%s", err.text);
		t2 = now_ms();
		cr_assert(rules_remove_guest(&base, &one, &err) == 0, "%s", err.text);
		t3 = now_ms();
		cr_log_info("%d guests: restore %.2f ms, add one %.3f ms, remove one %.3f ms", n,
			t1 - t0, t2 - t1, t3 - t2);
	}
	output("nft list set inet vm2 source6 | grep -o fd66 | wc -l", count, sizeof(count));
	cr_expect(atoi(count) == 10000, "%s", count);
	output("nft list set inet vm2 source4 | grep -c ' 559949584 . .* . 10.66.39.250'", count,
		sizeof(count));
	cr_expect(atoi(count) == 1, "%s", count);
}

/* More than 16 bits count: guests, and elements of one set in one message's worth. */
Test(table, more_than_65536_elements, .timeout = 120)
{
	const uint32_t n = 65537;
	struct rules_guest *guests_ = xcalloc(n, sizeof(*guests_));
	char(*text)[24] = xcalloc(n, sizeof(*text));
	const struct rules_state state = { .guests = guests_, .n_guests = n };
	struct err err = { 0 };
	char count[64];

	be_host();
	for (uint32_t i = 0; i < n; i++) {
		snprintf(text[i], sizeof(text[i]), "fd66::1:%x:%x", i >> 16, i & 0xffff);
		guests_[i] = (struct rules_guest){ i + 1, NULL, text[i] };
	}
	cr_assert(rules_restore_state(&base, &state, &err) == 0, "%s", err.text);
	output("nft list set inet vm2 source6 | grep -c 'fd66:'", count, sizeof(count));
	cr_expect(atoi(count) == (int)n, "%s", count);
	cr_expect(rules_add_guest(&base, &(struct rules_guest){ n + 1, NULL, "fd66::9:1" }, &err) == 0,
		"%s", err.text);
	free(guests_);
	free(text);
}

Test(table, bad_input_is_refused_with_words)
{
	static const struct rules_base bases[] = { { "vm2", "10.66.0.0", NULL },
		{ "vm2", "10.66.0.0/33", NULL }, { "vm2", "10.66.0.1/16", NULL },
		{ "vm2", "fd66::/64", NULL }, { "vm2", NULL, "10.66.0.0/16" },
		{ "vm2", "0.0.0.0/0", NULL }, { "vm2", "10.66.0.0/", NULL },
		{ "vm2", "127.0.0.0/16", NULL }, { "vm2", NULL, "fe80::/64" },
		{ "vm2-b", NULL, NULL }, { "", NULL, NULL }, { "vm2vm2vm2", NULL, NULL },
		{ "2vm", NULL, NULL }, { NULL, NULL, NULL },
		{ "vm2", "10.66.0.0/16", NULL, .masquerade = "yes" } };
	static const struct rules_guest bad[] = { { 1, "10.66.0.1/32", NULL },
		{ 1, "fd66::1", NULL }, { 1, NULL, "10.66.0.1" }, { 1, "127.0.0.1", NULL },
		{ 1, "169.254.1.1", NULL }, { 1, NULL, "fe80::1" }, { 1, NULL, "::" }, { 1, NULL, "::ffff:10.66.0.1" }, { 1, "240.0.0.1", NULL },
		{ 1, "224.0.0.1", NULL }, { 1, "a\nb", NULL } };
	static const char *const pools[] = { "127.0.0.0/8", "10.0.0.0/8 169.254.7.0/24", "224.0.0.0/8",
		"128.0.0.0/1", "240.0.0.0/8", "::ffff:0:0/96", "::ffff:10.0.0.0/104", "fe80::/64", "ff00::/16", "10.0.0.1/8", "10.66.7.0/24", "10.1.0.0/24 10.1.0.128/25" };
	static const char *const lists[] = { "10.0.0.0", "10.0.0.1/8", "10.0.0.0/8,fd00::/8",
		"10.0.0.0/8 x", "fd00::1/64", "0.0.0.0/0" };
	static const struct rules_base longest = { "vm2vm2vm", NULL, NULL };
	static const struct rules_guest far = { 4000000000U, "10.66.0.1", NULL };
	struct err err = { 0 };

	for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		err.text[0] = '\0';
		cr_expect(rules_restore(&bases[i], NULL, 0, &err) == ERR_USAGE, "base %zu", i);
		cr_expect(err.text[0]);
	}
	for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
		const struct rules_base b = { "vm2", "10.66.0.0/16", NULL, .pools = pools[i] };

		cr_expect(rules_check(&b, &err) == ERR_USAGE, "%s", pools[i]);
		cr_expect(strstr(err.text, "network.pools: ") == err.text, "%s", err.text);
	}
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		const struct rules_base b = { "vm2", NULL, NULL, NULL, lists[i], 0, 0 };

		cr_expect(rules_check(&b, &err) == ERR_USAGE, "%s", lists[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect(rules_add_guest(&base, &bad[i], &err) == ERR_USAGE, "guest %zu", i);
	cr_expect(rules_add_guest(&longest, &far, &err) == ERR_USAGE);
}

Test(table, probe_finds_this_kernel_fit)
{
	char text[256];

	be_host();
	cr_expect(firewall_probe() == NULL, "%s", firewall_probe());
	output("nft list tables; ip -br link | grep -v lo", text, sizeof(text));
	cr_expect(!text[0], "it left: %s", text);
}
