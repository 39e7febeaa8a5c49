/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which commands carry files. */
#include <criterion/criterion.h>

#include "provision/daemon/carry.h"

Test(carry, is_told_by_how_clients_start_the_other_end)
{
	static const struct {
		const char *command;
		unsigned int ways;
	} cases[] = {
		{ "scp -t /root", CARRY_UP },
		{ "scp -r -p -d -t -- 'a b'", CARRY_UP },
		{ "/usr/bin/scp -prf x", CARRY_DOWN },
		{ "  scp\t-v -f -- -t", CARRY_DOWN },
		{ "scp -- -t", 0 },
		{ "scp a b:", 0 },
		{ "scp", 0 },
		{ "rsync --server -vlogDtpre.iLsfxCIvu . /root", CARRY_UP },
		{ "rsync --server --sender -vlogDtpr . /root", CARRY_DOWN },
		{ "rsync a b", 0 },
		{ "/usr/lib/openssh/sftp-server", CARRY_UP | CARRY_DOWN },
		{ "sftp-server -R", CARRY_UP | CARRY_DOWN },
		{ "cat", 0 },
		{ "scpx -t", 0 },
		{ "", 0 },
		{ "/", 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_expect_eq(carry_ways(cases[i].command), cases[i].ways, "%s: %u", cases[i].command,
			     carry_ways(cases[i].command));
}
