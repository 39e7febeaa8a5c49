/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/keyopts.h"

/* What is read is written, and what was written is read as the same. */
static void expect(const char *text, const char *want)
{
	CLEANUP_KEYOPTS struct keyopts o = { 0 }, again = { 0 };
	CLEANUP_BUF struct buf first = { 0 }, second = { 0 };
	struct err err = { 0 };

	cr_assert_eq(keyopts_parse(text, &o, &err), 0, "%s: %s", text, err.text);
	keyopts_write(&o, &first);
	cr_expect_str_eq(first.data ?: "", want, "%s became %s", text, first.data ?: "");
	cr_assert_eq(keyopts_parse(first.data ?: "", &again, &err), 0, "%s: %s", first.data, err.text);
	keyopts_write(&again, &second);
	cr_expect_str_eq(first.data ?: "", second.data ?: "");
}

Test(keyopts, one_form)
{
	expect("", "");
	expect("no-pty,no-port-forwarding", "no-pty,no-port-forwarding");
	expect("restrict", "restrict");
	expect("restrict,pty", "no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc");
	expect("Restrict,port-forwarding,PTY,agent-forwarding,x11-forwarding,user-rc", "");
	expect("command=\"a \\\"b\\\" , c\"", "command=\"a \\\"b\\\" , c\"");
	expect("command=\"internal-sftp\"", "command=\"/usr/lib/openssh/sftp-server\"");
	expect("permitopen=\"a:1\",permitopen=\"[::1]:*\"", "permitopen=\"a:1\",permitopen=\"[::1]:*\"");
	expect("permitlisten=\"8080\",permitlisten=\"localhost:1\"",
	       "permitlisten=\"8080\",permitlisten=\"localhost:1\"");
	expect("expiry-time=\"20270131Z\"", "expiry-time=\"20270131000000Z\"");
	expect("expiry-time=\"2027-01-31Z\"", "expiry-time=\"20270131000000Z\"");
	expect("expiry-time=\"202701311559Z\"", "expiry-time=\"20270131155900Z\"");
	/* Two: the earlier. */
	expect("expiry-time=\"20280131Z\",expiry-time=\"20270131Z\"", "expiry-time=\"20270131000000Z\"");
	expect("from=\"192.0.2.0/24,::1\"", "from=\"192.0.2.0/24,::1\"");
}

Test(keyopts, what_is_wrong_is_named)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
		{ "x", "'x' of a key is not known" },
		{ ",", "not known" },
		{ "no-pty,", "end with a comma" },
		{ "no-pty\"", "not known" },
		{ "command=x", "needs a value in quotes" },
		{ "command=\"x", "needs a value in quotes" },
		{ "command=\"\"", "cannot be run" },
		{ "command=\"internal-sftp -R\"", "cannot be run" },
		{ "command=\"x\"y", "a comma, not 'y'" },
		{ "from=\"\"", "neither an address" },
		{ "from=\"*.example.org\"", "neither an address" },
		{ "from=\"!192.0.2.1\"", "neither an address" },
		{ "permitopen=\"a\"", "not HOST:PORT" },
		{ "permitopen=\"80\"", "not HOST:PORT" },
		{ "permitopen=\":80\"", "not HOST:PORT" },
		{ "permitopen=\"a:0\"", "not HOST:PORT" },
		{ "permitopen=\"a b:1\"", "not HOST:PORT" },
		{ "permitlisten=\"x\"", "not [HOST:]PORT" },
		{ "expiry-time=\"20270231\"", "no time" },
		{ "expiry-time=\"2027\"", "no time" },
		{ "expiry-time=\"202701312500\"", "no time" },
		{ "expiry-time=\"20270131x\"", "no time" },
		{ "cert-authority", "not known" },
		{ "environment=\"A=b\"", "not known" },
		{ "no-pty\n", "control character" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CLEANUP_KEYOPTS struct keyopts o = { 0 };
		struct err err = { 0 };

		cr_expect_eq(keyopts_parse(bad[i].text, &o, &err), ERR_USAGE, "%s", bad[i].text);
		cr_expect(strstr(err.text, bad[i].words), "%s: %s", bad[i].text, err.text);
	}
}

Test(keyopts, where_from)
{
	CLEANUP_KEYOPTS struct keyopts o = { 0 }, none = { 0 };

	cr_assert_eq(keyopts_parse("from=\"192.0.2.0/24,2001:db8::/32\"", &o, NULL), 0);
	cr_expect(keyopts_from(&o, "192.0.2.7:50000"));
	cr_expect(keyopts_from(&o, "192.0.2.7"));
	cr_expect(keyopts_from(&o, "[2001:db8::7]:22"));
	cr_expect(keyopts_from(&o, "2001:db8::7"));
	cr_expect_not(keyopts_from(&o, "192.0.3.7:50000"));
	cr_expect_not(keyopts_from(&o, "[2001:db9::7]:22"));
	cr_expect_not(keyopts_from(&o, "unknown"));
	cr_expect_not(keyopts_from(&o, ""));
	cr_expect_not(keyopts_from(&o, "["));
	cr_expect_not(keyopts_from(&o, NULL));
	cr_expect(keyopts_from(&none, NULL));
}

Test(keyopts, where_to)
{
	CLEANUP_KEYOPTS struct keyopts o = { 0 }, none = { 0 }, no = { 0 };

	cr_assert_eq(keyopts_parse("permitopen=\"Web:80\",permitopen=\"[::1]:*\",permitlisten=\"8080\"", &o,
				   NULL), 0);
	cr_expect(keyopts_may_open(&o, "web", 80));
	cr_expect(keyopts_may_open(&o, "::1", 9));
	cr_expect_not(keyopts_may_open(&o, "web", 81));
	cr_expect_not(keyopts_may_open(&o, "web.", 80));
	cr_expect_not(keyopts_may_open(&o, "", 80));
	cr_expect(keyopts_may_listen(&o, "", 8080));
	cr_expect(keyopts_may_listen(&o, "localhost", 8080));
	cr_expect_not(keyopts_may_listen(&o, "localhost", 8081));
	cr_expect(keyopts_may_open(&none, "anything", 1) && keyopts_may_listen(&none, "", 0));
	cr_assert_eq(keyopts_parse("restrict", &no, NULL), 0);
	cr_expect_not(keyopts_may_open(&no, "anything", 1));
	cr_expect_not(keyopts_may_listen(&no, "", 1));
}
