/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <netinet/in.h>

#include "gateway/listen.h"
#include "provision/base/cleanup.h"

static int parse(const char *text, struct sockaddr_storage *a, socklen_t *len)
{
	struct err err = { 0 };

	return listen_parse(text, a, len, &err);
}

Test(listen, addresses)
{
	struct sockaddr_storage a;
	socklen_t len;

	cr_assert_eq(parse("127.0.0.1:2222", &a, &len), 0);
	cr_assert_eq(a.ss_family, AF_INET);
	cr_assert_eq(ntohs(((struct sockaddr_in *)&a)->sin_port), 2222);
	cr_assert_eq(len, sizeof(struct sockaddr_in));
	cr_assert_eq(parse("[2001:db8::1]:65535", &a, &len), 0);
	cr_assert_eq(a.ss_family, AF_INET6);
	cr_assert_eq(ntohs(((struct sockaddr_in6 *)&a)->sin6_port), 65535);
}

Test(listen, no_addresses)
{
	static const char *const bad[] = { "", ":", ":22", "22", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0",
					   "127.0.0.1:65536", "localhost:22", "::1:22", "[127.0.0.1]:22",
					   "[::1]", "[::1]22", "[]:22", "[::1]:22x", "1.2.3:22" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sockaddr_storage a = { 0 };
		socklen_t len = 7;

		cr_assert_eq(parse(bad[i], &a, &len), ERR_USAGE, "%s", bad[i]);
		cr_assert_eq(len, 7, "%s", bad[i]);
	}
}

/* How many descriptors this process has. */
static int descriptors(void)
{
	CLEANUP_CLOSEDIR DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	cr_assert(dir);
	while (readdir(dir))
		n++;
	return n;
}

Test(listen, opens_both_families_and_closes_all_on_failure)
{
	int fds[LISTEN_MAX], n = -1, before;
	struct err err = { 0 };

	cr_assert_eq(listen_open("127.0.0.1:28222 127.0.0.2:28222", fds, &n, &err), 0, "%s", err.text);
	cr_assert_eq(n, 2);
	n = -1;
	before = descriptors();
	cr_assert_neq(listen_open("127.0.0.3:28222 127.0.0.1:28222", fds, &n, &err), 0);
	cr_assert_eq(n, -1);
	cr_assert_eq(descriptors(), before, "a descriptor was left open");
}
