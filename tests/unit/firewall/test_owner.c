/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table is the owner's: others cannot change it, or it is noticed who did. */
#include "firewall/owner.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "tests/unit/firewall/net.h"

#define WAIT_MS 10000

static const struct rules_guest guests[] = { { 1, "10.66.0.1", "fd66::1" },
	{ 2, "10.66.0.2", "fd66::2" } };

static const struct rules_state one = { .guests = guests, .n_guests = 1 },
				both = { .guests = guests, .n_guests = 2 };

/* A folder for the owner's socket, and the owner: in this process, which the kernel does not mind. */
struct world {
	char run[64];
	struct rules_base base;
	struct owner *owner;
	int listener;
};

static void begin(struct world *w, bool own)
{
	struct err err = { 0 };

	be_host();
	snprintf(w->run, sizeof(w->run), "/tmp/vm2-test-owner.XXXXXX");
	cr_assert(mkdtemp(w->run));
	w->base = (struct rules_base){ "vm2", "10.66.0.0/16", "fd66::/64", w->run };
	cr_assert(owner_listen(w->run, &w->listener, &err) == 0, "%s", err.text);
	cr_assert(owner_open(&w->base, w->listener, -1, own ? OWNER_OWNS : OWNER_WATCHES,
			  &w->owner, &err) == 0, "%s", err.text);
	cr_assert(owner_restore(w->owner, &one, &err) == 0, "%s", err.text);
	if (own && !owner_owns(w->owner)) {
		fd_remove_tree(AT_FDCWD, w->run);
		cr_skip_test("needs Linux 6.9: tables that persist");
	}
}

static void end(struct world *w)
{
	owner_close(w->owner);
	close(w->listener);
	fd_remove_tree(AT_FDCWD, w->run);
}

static bool table_has(const char *words)
{
	static char text[16384];

	output("nft list table inet vm2 2>&1", text, sizeof(text));
	return strstr(text, words);
}

/* Whether a child that adds guest 2 the way workers do is served. */
static void borrow(struct world *w, int (*act)(const struct rules_base *))
{
	struct owner_change change;
	struct err err = { 0 };
	pid_t pid = fork();
	int status = 0;
	double deadline = now_ms() + WAIT_MS;

	if (pid == 0)
		_exit(act(&w->base));
	while (waitpid(pid, &status, WNOHANG) == 0 && now_ms() < deadline)
		cr_assert(owner_serve(w->owner, 20, &change, &err) == 0, "%s %s %s", err.text,
			change.who, change.what);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
}

static int add_second(const struct rules_base *base)
{
	struct err err = { 0 };
	int r = rules_add_guest(base, &guests[1], &err);

	if (r)
		fprintf(stderr, "%s\n", err.text);
	return r != 0;
}

static int remove_second(const struct rules_base *base)
{
	return rules_remove_guest(base, &guests[1], NULL) != 0;
}

static int restore_both(const struct rules_base *base)
{
	return rules_restore(base, guests, 2, NULL) != 0;
}

Test(owner, others_cannot_change_the_table)
{
	static const char *const attempts[] = { "delete table inet vm2", "flush table inet vm2",
		"flush chain inet vm2 forward", "delete chain inet vm2 forward",
		"flush set inet vm2 guests", "delete element inet vm2 guests { " VM2_1 " . 02:67:00:00:00:01 }",
		"insert rule inet vm2 forward accept", "add element inet vm2 guests { " VM2_9 " . 02:67:00:00:00:09 }",
		"delete table arp vm2", "flush chain arp vm2 claimed" };
	struct world w;
	char text[512], command[256];

	begin(&w, true);
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		snprintf(command, sizeof(command), "nft '%s' 2>&1 && echo done", attempts[i]);
		output(command, text, sizeof(text));
		cr_expect(strstr(text, "not permitted"), "%s: %s", attempts[i], text);
	}
	output("nft add table inet mine; nft flush ruleset; nft list tables", text, sizeof(text));
	cr_expect(strstr(text, "table arp vm2"), "%s", text);
	cr_expect(!strstr(text, "mine"), "%s", text);
	cr_expect(table_has(VM2_1 " . 02:67:00:00:00:01 . 10.66.0.1") && table_has("chain forward"));
	end(&w);
}

Test(owner, lends_its_socket)
{
	struct world w;

	begin(&w, true);
	borrow(&w, add_second);
	cr_expect(table_has(VM2_2 " . 02:67:00:00:00:02 . 10.66.0.2"));
	borrow(&w, remove_second);
	cr_expect(!table_has(VM2_2) && table_has(VM2_1));
	borrow(&w, restore_both);
	cr_expect(table_has(VM2_2 " . 02:67:00:00:00:02 . 10.66.0.2"));
	end(&w);
}

Test(owner, one_that_begins_anew_takes_over)
{
	struct err err = { 0 };
	struct world w;

	begin(&w, true);
	w.owner = owner_close(w.owner);
	cr_expect(table_has(VM2_1 " . 02:67:00:00:00:01 . 10.66.0.1"), "the table went with its owner");
	cr_assert(owner_open(&w.base, w.listener, -1, OWNER_OWNS, &w.owner, &err) == 0, "%s", err.text);
	cr_assert(owner_restore(w.owner, &both, &err) == 0, "%s", err.text);
	cr_expect(owner_owns(w.owner));
	cr_expect(table_has(VM2_2 " . 02:67:00:00:00:02 . 10.66.0.2"));
	end(&w);
}

Test(owner, without_one_callers_use_their_own_socket)
{
	struct world w;

	begin(&w, true);
	w.owner = owner_close(w.owner);
	close(w.listener);
	cr_expect(add_second(&w.base) == 0);
	cr_expect(table_has(VM2_2 " . 02:67:00:00:00:02 . 10.66.0.2"));
	end(&w);
}

Test(owner, notices_who_changed_what)
{
	static const struct {
		const char *command, *what;
	} cases[] = {
		{ "flush ruleset", "deleted" },
		{ "delete table inet vm2", "deleted" },
		{ "flush chain inet vm2 input", "deleted a rule" },
		{ "delete element inet vm2 guests { " VM2_1 " . 02:67:00:00:00:01 }", "deleted an element" },
		{ "add element inet vm2 source4 { " VM2_1 " . 02:67:00:00:00:01 . 10.66.0.9 }", "added an element" },
		{ "delete table arp vm2", "deleted" },
		{ "insert rule inet vm2 forward accept", "added a rule" },
	};
	struct err err = { 0 };
	struct world w;
	char command[256], text[256];

	begin(&w, false);
	output("nft list table inet vm2 >/tmp/$PPID.before", text, sizeof(text));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct owner_change change = { 0 };

		/* Another's table is none of ours. */
		output("nft add table inet mine; nft add chain inet mine c", text, sizeof(text));
		cr_expect(owner_serve(w.owner, 50, &change, &err) == 0, "%s", change.what);
		snprintf(command, sizeof(command), "nft '%s' 2>&1", cases[i].command);
		output(command, text, sizeof(text));
		cr_expect(!text[0], "%s", text);
		cr_expect(owner_serve(w.owner, WAIT_MS, &change, &err) == 1, "%s", err.text);
		cr_expect(strstr(change.what, cases[i].what), "%s: %s", cases[i].command,
			change.what);
		cr_expect(strstr(change.who, "nft (pid "), "%s", change.who);
		cr_assert(owner_restore(w.owner, &one, &err) == 0, "%s", err.text);
		output("nft list table inet vm2 | diff /tmp/$PPID.before -", text, sizeof(text));
		cr_expect(!text[0], "%s", text);
	}
	borrow(&w, add_second);
	output("rm /tmp/$PPID.before", text, sizeof(text));
	end(&w);
}

/* mnl_attr_cb_t */
static int take_name(const struct nlattr *attr, void *ret)
{
	if (mnl_attr_get_type(attr) == NFTA_TABLE_NAME && !strcmp(mnl_attr_get_str(attr), "vm2"))
		*(bool *)ret = true;
	return MNL_CB_OK;
}

/* mnl_cb_t: the table is there again. */
static int take_news(const struct nlmsghdr *msg, void *ret)
{
	if ((msg->nlmsg_type & 0xff) == NFT_MSG_NEWTABLE)
		mnl_attr_parse(msg, sizeof(struct nfgenmsg), take_name, ret);
	return MNL_CB_OK;
}

/* Milliseconds until the kernel says that it is there again. */
static double time_restore(struct mnl_socket *news)
{
	_Alignas(struct nlmsghdr) char buf[16384];
	struct pollfd p = { mnl_socket_get_fd(news), POLLIN, 0 };
	double began = now_ms();
	bool there = false;

	while (!there && poll(&p, 1, WAIT_MS) == 1) {
		ssize_t n = mnl_socket_recvfrom(news, buf, sizeof(buf));

		if (n > 0)
			mnl_cb_run(buf, (size_t)n, 0, 0, take_news, &there);
	}
	cr_assert(there);
	return now_ms() - began;
}

static struct mnl_socket *listen_for_news(void)
{
	struct mnl_socket *news = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	int size = 8 << 20;

	cr_assert(news && mnl_socket_bind(news, 1 << (NFNLGRP_NFTABLES - 1), MNL_SOCKET_AUTOPID) == 0);
	setsockopt(mnl_socket_get_fd(news), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return news;
}

/* A promise of the design's. The least of three: what else the machine does is not the owner's. */
Test(owner, a_watched_table_is_there_again_within_a_second)
{
	static struct rules_guest many[1000];
	static char addresses[1000][16];
	const struct rules_state state = { .guests = many, .n_guests = 1000 };
	struct mnl_socket *news;
	double least = WAIT_MS;
	char text[64];
	struct owner_change change;
	struct err err = { 0 };
	struct world w;
	pid_t pid;

	for (uint32_t i = 0; i < 1000; i++) {
		snprintf(addresses[i], sizeof(addresses[i]), "10.66.%u.%u", i / 250, i % 250 + 1);
		many[i] = (struct rules_guest){ i + 1, addresses[i], NULL };
	}
	begin(&w, false);
	news = listen_for_news();
	pid = fork();
	while (pid == 0)
		if (owner_restore(w.owner, &state, &err) != 0 ||
			owner_serve(w.owner, -1, &change, &err) != 1)
			_exit(1);
	time_restore(news);
	for (int i = 0; i < 3; i++) {
		double took;

		output("nft flush ruleset", text, sizeof(text));
		took = time_restore(news);
		least = took < least ? took : least;
	}
	cr_expect_lt(least, 1000, "%.0f ms", least);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	mnl_socket_close(news);
	end(&w);
}
