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
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "firewall/owner.h"
#include "firewall/policy.h"
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

/* A kernel before 6.9 does not know NFT_TABLE_F_PERSIST: it is given a flag that none knows. */
static bool forgets;

static void forget(char *batch, size_t len)
{
	static const unsigned char flags[] = { 8, 0, NFTA_TABLE_FLAGS, 0, 0, 0, 0,
		POLICY_TABLE_OWNER | POLICY_TABLE_PERSIST };
	struct nlmsghdr *msg = (struct nlmsghdr *)(void *)batch;
	unsigned char *at;

	for (int left = (int)len; mnl_nlmsg_ok(msg, left); msg = mnl_nlmsg_next(msg, &left)) {
		at = (msg->nlmsg_type & 0xff) == NFT_MSG_NEWTABLE ?
			memmem(msg, msg->nlmsg_len, flags, sizeof(flags)) : NULL;
		if (at && msg->nlmsg_type >> 8 == NFNL_SUBSYS_NFTABLES)
			at[sizeof(flags) - 1] |= 0x80;
	}
}

/* Where the kernel's answers lie for a while before they are read: who shares the socket could take them. */
static bool dawdles;

ssize_t mnl_socket_sendto(const struct mnl_socket *sock, const void *data, size_t len)
{
	const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	CLEANUP_FREE char *copy = malloc(len);
	char *at = copy;
	ssize_t sent;

	cr_assert(copy);
	memcpy(copy, data, len);
	while (lacking && (at = memmem(at, len - (size_t)(at - copy), lacking, strlen(lacking) + 1)))
		*at = '_';
	if (forgets)
		forget(copy, len);
	sent = sendto(mnl_socket_get_fd(sock), copy, len, 0, (const struct sockaddr *)&kernel, sizeof(kernel));
	if (dawdles)
		usleep(50000);
	return sent;
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

/* --- without tables that persist --- */

struct keeping {
	char run[64];
	struct rules_base base;
	int listener;
};

static struct keeping begin_keeping(void)
{
	struct keeping k = { .run = "/tmp/vm2-test-kernel.XXXXXX" };
	struct err err = { 0 };

	be_host();
	forgets = true;
	cr_assert(mkdtemp(k.run));
	k.base = base;
	cr_assert(owner_listen(k.run, &k.listener, &err) == 0, "%s", err.text);
	return k;
}

/* A child of this test, once it has said that it is ready. */
static pid_t child(const struct keeping *k, void (*act)(const struct keeping *k, int ready))
{
	char byte;
	int pipe[2];
	pid_t pid;

	cr_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pipe) == 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pipe[0]);
		act(k, pipe[1]);
		_exit(1);
	}
	close(pipe[1]);
	cr_assert(read(pipe[0], &byte, 1) == 1, "the child failed");
	close(pipe[0]);
	return pid;
}

static void be_owner(const struct keeping *k, int ready)
{
	struct owner_change change;
	struct err err = { 0 };
	struct owner *o;

	if (owner_open(&k->base, k->listener, -1, OWNER_IS_HELD, &o, &err) != 0 ||
		owner_restore(o, &state, &err) != 0 || !owner_owns(o))
		_exit(2);
	(void)!write(ready, "r", 1);
	(void)owner_serve(o, -1, &change, &err);
}

/* What has a guest: it goes on to change the table when there is no owner. */
static void be_guest(const struct keeping *k, int ready)
{
	const struct rules_guest second = { 2, "10.66.0.2", "fd66::2" };
	struct rules_base mine = k->base;
	struct err err = { 0 };

	close(k->listener);
	mine.run = k->run;
	if (owner_hold(&mine, &err) != 0 || fcntl(OWNER_HELD_FD, F_GETFD) != FD_CLOEXEC) {
		fprintf(stderr, "%s\n", err.text);
		_exit(2);
	}
	(void)!write(ready, "r", 1);
	mine.run = "/nowhere";
	mine.held = OWNER_HELD_FD;
	while (rules_add_guest(&mine, &second, &err) == 0)
		usleep(10000);
	fprintf(stderr, "%s\n", err.text);
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	cr_expect(waitpid(pid, NULL, 0) == pid);
}

static bool others_cannot(void)
{
	char text[512];

	output("nft flush ruleset; nft delete table inet vm2 2>&1; nft insert rule inet vm2 forward accept 2>&1", text,
		sizeof(text));
	return strstr(text, "not permitted") && strstr(tables(), "table inet vm2") &&
		strstr(tables(), "table arp vm2");
}

/* Within a moment: the kernel may be late to close what a process had. */
static bool is_gone(void)
{
	double until = now_ms() + 10000;

	while (*tables() && now_ms() < until)
		usleep(1000);
	return !*tables();
}

Test(kernel, a_table_that_does_not_persist_lives_as_long_as_a_guest)
{
	struct keeping k = begin_keeping();
	struct rules_base mine = k.base;
	pid_t owner = child(&k, be_owner), guest = child(&k, be_guest);
	int pidfd = (int)syscall(SYS_pidfd_open, guest, 0), socket;
	struct err err = { 0 };
	struct owner *o;

	mine.run = k.run;
	cr_expect(others_cannot());
	end_child(owner);
	cr_expect(others_cannot(), "%s", tables());
	close(k.listener);
	cr_expect(owner_hold(&mine, &err) == ERR_BUSY, "%s", err.text);
	cr_expect(kill(guest, 0) == 0 && waitpid(guest, NULL, WNOHANG) == 0, "it changes its own elements");
	/* Who begins anew goes on with the guest's. */
	cr_assert(owner_listen(k.run, &k.listener, &err) == 0, "%s", err.text);
	socket = owner_take(pidfd);
	cr_assert(socket >= 0);
	cr_assert(owner_open(&k.base, k.listener, socket, OWNER_IS_HELD, &o, &err) == 0, "%s", err.text);
	dawdles = true;
	cr_assert(owner_restore(o, &state, &err) == 0, "%s", err.text);
	dawdles = false;
	cr_expect(owner_owns(o) && others_cannot());
	end_child(guest);
	cr_expect(owner_take(pidfd) < 0 && others_cannot());
	owner_close(o);
	cr_expect(is_gone(), "%s", tables());
	close(k.listener);
	cr_expect(owner_hold(&mine, &err) == -ENOENT, "%s", err.text);
	close(pidfd);
	fd_remove_tree(AT_FDCWD, k.run);
}

/* Those that began before do not hold it: a table that went with the owner would be none for them. */
Test(kernel, a_table_that_does_not_persist_and_is_not_held_is_watched)
{
	struct keeping k = begin_keeping();
	struct owner_change change;
	struct err err = { 0 };
	struct owner *o;
	pid_t guest;
	int pidfd;

	cr_assert(owner_open(&k.base, k.listener, -1, OWNER_OWNS, &o, &err) == 0, "%s", err.text);
	cr_assert(owner_restore(o, &state, &err) == 0, "%s", err.text);
	cr_expect(!owner_owns(o));
	/* Who comes holds it all the same, so that the next owner finds all holding it. */
	guest = fork();
	if (guest == 0) {
		k.base.run = k.run;
		_exit(owner_hold(&k.base, &err) != 0 || pause());
	}
	pidfd = (int)syscall(SYS_pidfd_open, guest, 0);
	for (int i = 0, socket = -1; i < 500 && socket < 0; i++) {
		cr_expect(owner_serve(o, 20, &change, &err) == 0, "%s", err.text);
		socket = owner_take(pidfd);
		cr_expect(socket >= 0 || i < 499);
		fd_close(socket);
	}
	end_child(guest);
	owner_close(o);
	cr_expect(strstr(tables(), "table inet vm2"));
	close(pidfd);
	close(k.listener);
	fd_remove_tree(AT_FDCWD, k.run);
}
