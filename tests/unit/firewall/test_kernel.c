/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kernel that is busy, whose answer is lost, or that lacks a part of what the table is made of. */
/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include <libnftnl/common.h>
#include <libnftnl/set.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "firewall/restore.h"
#include "provision/base/cleanup.h"
#include "tests/unit/firewall/net.h"

static const struct rules_base base = { "vm2", "10.66.0.0/16", "fd66::/64", NULL, NULL, 8192, 1000 };
static const struct rules_guest guests[] = { { 1, "10.66.0.1", "fd66::1" } };
static const struct rules_state state = { .guests = guests, .n_guests = 1 };

/* What happens in the pause before a batch is sent again. */
static void (*in_pause)(void);
static int pauses;

/* In the place of the C library's: the firewall waits by it for nothing but the next try. */
int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	struct timespec t = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };

	if (!fds) {
		pauses++;
		if (in_pause)
			in_pause();
	}
	return (int)syscall(SYS_ppoll, fds, n, timeout_ms < 0 ? NULL : &t, NULL, 0);
}

/* In the place of libmnl's: a kernel without an expression is one that is asked for another name. */
static const char *lacking;

ssize_t mnl_socket_sendto(const struct mnl_socket *sock, const void *data, size_t len)
{
	const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	CLEANUP_FREE char *copy = malloc(len);
	char *at = copy;

	cr_assert(copy);
	memcpy(copy, data, len);
	while (lacking && (at = memmem(at, len - (size_t)(at - copy), lacking, strlen(lacking) + 1)))
		*at = '_';
	return sendto(mnl_socket_get_fd(sock), copy, len, 0, (const struct sockaddr *)&kernel,
		sizeof(kernel));
}

static const char *tables(void)
{
	static char text[1024];

	output("nft list tables", text, sizeof(text));
	return text;
}

/* --- busy --- */

static void free_the_set(void)
{
	char text[256];

	output("nft flush chain ip other c 2>&1", text, sizeof(text));
	cr_expect(!text[0], "%s", text);
	in_pause = NULL;
}

/* To delete a set that another's rule looks in. */
static int delete_busy_set(struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct nftnl_set *s = nftnl_set_alloc();
	struct nlmsghdr *msg;

	cr_assert(s && netlink_open(&nl, NETLINK_NETFILTER, err) == 0);
	nftnl_set_set_str(s, NFTNL_SET_TABLE, "other");
	nftnl_set_set_str(s, NFTNL_SET_NAME, "s");
	netlink_commit(&nl, nftnl_batch_begin(netlink_room(&nl, 64, "begin"), nl.next_seq));
	msg = nftnl_nlmsg_build_hdr(
		netlink_room(&nl, 4096, "delete a set"), NFT_MSG_DELSET, NFPROTO_IPV4, 0, nl.next_seq);
	nftnl_set_nlmsg_build_payload(msg, s);
	netlink_commit(&nl, msg);
	netlink_want_ack(&nl);
	netlink_commit(&nl, nftnl_batch_end(netlink_room(&nl, 64, "commit"), nl.next_seq));
	nftnl_set_free(s);
	return netlink_exchange(&nl, "table ip other", NULL, NULL, err);
}

Test(kernel, a_busy_one_is_asked_again)
{
	struct err err = { 0 };
	char text[256];

	be_host();
	output("nft 'add table ip other; add set ip other s { type ipv4_addr; }; add chain ip other c; "
	       "add rule ip other c ip saddr @s accept' 2>&1",
		text, sizeof(text));
	cr_assert(!text[0], "%s", text);
	/* Who stays busy is told of, and nothing is done. */
	cr_expect(delete_busy_set(&err) == -EBUSY);
	cr_expect_str_eq(err.text, "table ip other: cannot delete a set: Device or resource busy");
	cr_expect(pauses > 1);
	output("nft list sets", text, sizeof(text));
	cr_expect(strstr(text, "set s"), "%s", text);
	in_pause = free_the_set;
	cr_expect(delete_busy_set(&err) == 0, "%s", err.text);
	output("nft list sets", text, sizeof(text));
	cr_expect(!strstr(text, "set s"), "%s", text);
}

/* --- deaf --- */

static struct netlink deaf;

static void hear_again(void)
{
	int none = 0;

	cr_expect(setsockopt(mnl_socket_get_fd(deaf.sock), SOL_SOCKET, SO_DETACH_FILTER, &none,
			  sizeof(none)) == 0);
	in_pause = NULL;
}

/* Nothing that the kernel says arrives, and nobody is told so. */
static void be_deaf(void)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	const struct sock_fprog program = { 1, &drop };
	struct err err = { 0 };

	cr_assert(netlink_open(&deaf, NETLINK_NETFILTER, &err) == 0, "%s", err.text);
	cr_assert(setsockopt(mnl_socket_get_fd(deaf.sock), SOL_SOCKET, SO_ATTACH_FILTER, &program,
			  sizeof(program)) == 0);
}

static void count_drift(void *data, const char *how, const char *what)
{
	*(int *)data += 1;
	fprintf(stderr, "%s %s\n", how, what);
}

Test(kernel, an_acknowledgement_that_is_lost_is_asked_for_again)
{
	struct err err = { 0 };
	int differ = 0;

	be_host();
	be_deaf();
	cr_expect(rules_restore_on(&deaf, &base, &state, &err) == -ENOBUFS);
	cr_expect(strstr(err.text, "the kernel's answer was lost"), "%s", err.text);
	cr_expect(pauses > 1);
	pauses = 0;
	in_pause = hear_again;
	cr_expect(rules_restore_on(&deaf, &base, &state, &err) == 0, "%s", err.text);
	cr_expect_eq(pauses, 1);
	/* Done twice is done once. */
	cr_expect(rules_verify(&base, &state, count_drift, &differ, &err) == 0 && !differ, "%s", err.text);
	netlink_close(&deaf);
}

/* --- without some part --- */

Test(kernel, one_without_some_expression_is_told_of_and_nothing_is_half_done)
{
	static const char *const parts[] = { "connlimit", "limit", "fib", "nat", "masq", "ct", "dynset",
		"objref" };
	struct err err = { 0 };
	int differ = 0;

	be_host();
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		lacking = parts[i];
		cr_expect(firewall_probe() && strstr(firewall_probe(), "the kernel lacks a part of nftables"),
			"%s: %s", parts[i], firewall_probe());
		cr_expect(rules_restore(&base, guests, 1, &err) == -ENOENT, "%s: %s", parts[i], err.text);
		cr_expect(strstr(err.text, "the kernel lacks a part of nftables") &&
				!strchr(err.text, '\n'),
			"%s: %s", parts[i], err.text);
		cr_expect_str_eq(tables(), "");
	}
	lacking = NULL;
	cr_expect(firewall_probe() == NULL, "%s", firewall_probe());
	cr_assert(rules_restore(&base, guests, 1, &err) == 0, "%s", err.text);
	/* What is there stays whole when the next cannot be. */
	lacking = "connlimit";
	cr_expect(rules_restore(&base, guests, 1, &err) == -ENOENT);
	lacking = NULL;
	cr_expect(rules_verify(&base, &state, count_drift, &differ, &err) == 0 && !differ, "%s", err.text);
}
