/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The house keeps its order: who may include whom, who owns which foreign header, and which
 * folders stand at the top. docs/ARCHITECTURE tells why.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "provision/base/cleanup.h"
#include "provision/base/str.h"

/* A folder (the longest match counts) and the folders whose headers its files may include. */
static const struct {
	const char *folder, *may;
} rules[] = {
	{ "provision/base", "" },
	{ "provision/api", "provision/base" },
	{ "firewall", "provision/base" },
	{ "nss_vm2", "" },
	{ "gateway", "provision/base provision/api" },
	{ "gateway/shell", "provision/base provision/api" },
	{ "pam_vm2", "provision/base provision/api" },
	{ "provision/store", "provision/base nss_vm2/snapshot.h" },
	{ "provision/guest", "provision/base firewall" },
	{ "provision/audit", "provision/base" },
	{ "provision/session", "provision/base provision/api provision/guest provision/audit" },
	{ "provision/daemon", "provision/ firewall" },
	{ "provision/cli", "provision/base provision/api provision/audit" },
};

/* A foreign header (a prefix), and where it may stand (prefixes). */
static const struct {
	const char *header, *may;
} owners[] = {
	{ "sqlite3.h", "provision/store" },
	{ "libssh/", "gateway/wire" },
	{ "openssl/", "gateway/certify.c gateway/proof.c gateway/signature.c gateway/wire_peek.c" },
	{ "libnftnl/", "firewall" },
	{ "libmnl/", "firewall" },
	{ "security/", "pam_vm2 gateway/monitor" },
	{ "nss.h", "nss_vm2 provision/session/forward_agent" }, /* its look-ups load no module */
	{ "archive", "provision/guest/pack.c provision/guest/unpack.c" },
};

/* Whether one of the words of list is a prefix of s. */
static bool matches(const char *list, const char *s)
{
	char copy[256], *rest = copy, *word;

	snprintf(copy, sizeof(copy), "%s", list);
	while ((word = strsep(&rest, " ")))
		if (*word && str_starts(s, word))
			return true;
	return false;
}

static int rule_of(const char *path)
{
	int best = -1;

	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (str_starts(path, rules[i].folder) && path[strlen(rules[i].folder)] == '/' &&
		    (best < 0 || strlen(rules[i].folder) > strlen(rules[best].folder)))
			best = (int)i;
	return best;
}

/* These add a line to why for what breaks a rule, and return how many did. */
static int check_own(const char *path, const char *header, struct buf *why)
{
	int rule = rule_of(path);

	if (rule < 0) {
		buf_printf(why, "%s: no include rule is known for its folder\n", path);
		return 1;
	}
	if (str_starts(header, rules[rule].folder) || !strcmp(header, "build.h") ||
	    matches(rules[rule].may, header))
		return 0;
	buf_printf(why, "%s may not include %s (only: %s)\n", path, header, rules[rule].may);
	return 1;
}

static int check_foreign(const char *path, const char *header, struct buf *why)
{
	for (size_t i = 0; i < ARRAY_LEN(owners); i++) {
		if (!str_starts(header, owners[i].header) || matches(owners[i].may, path))
			continue;
		buf_printf(why, "%s includes <%s>, which belongs to %s\n", path, header,
			   owners[i].may);
		return 1;
	}
	return 0;
}

static int check_file(const char *root, const char *path, struct buf *why)
{
	CLEANUP_FREE char *full = xasprintf("%s/%s", root, path);
	CLEANUP_FCLOSE FILE *f = fopen(full, "r");
	char line[512], header[256];
	int wrong = 0;

	cr_assert(f, "%s", full);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "#include \"%255[^\"]\"", header) == 1)
			wrong += check_own(path, header, why);
		else if (sscanf(line, "#include <%255[^>]>", header) == 1)
			wrong += check_foreign(path, header, why);
	}
	return wrong;
}

static int walk(const char *root, const char *folder, int *ret_files, struct buf *why)
{
	CLEANUP_FREE char *full = xasprintf("%s/%s", root, folder);
	CLEANUP_CLOSEDIR DIR *dir = opendir(full);
	struct dirent *de;
	int wrong = 0;

	cr_assert(dir, "%s", full);
	while ((de = readdir(dir))) {
		CLEANUP_FREE char *path = xasprintf("%s/%s", folder, de->d_name);
		size_t len = strlen(path);

		if (de->d_name[0] == '.')
			continue;
		if (de->d_type == DT_DIR)
			wrong += walk(root, path, ret_files, why);
		else if (len > 2 && (!strcmp(path + len - 2, ".c") || !strcmp(path + len - 2, ".h"))) {
			wrong += check_file(root, path, why);
			++*ret_files;
		}
	}
	return wrong;
}

Test(tree, every_include_keeps_the_rules)
{
	static const char *const tops[] = { "gateway", "pam_vm2", "nss_vm2", "provision", "firewall" };
	CLEANUP_BUF struct buf why = { 0 };
	int files = 0, wrong = 0;

	for (size_t i = 0; i < ARRAY_LEN(tops); i++)
		wrong += walk(SOURCE_ROOT, tops[i], &files, &why);
	cr_assert_eq(wrong, 0, "%d includes break the rules:\n%s", wrong, why.data);
	cr_assert_gt(files, 20, "only %d files were found below %s", files, SOURCE_ROOT);
}

Test(tree, a_broken_rule_is_seen)
{
	CLEANUP_BUF struct buf why = { 0 };

	cr_assert_eq(check_own("provision/base/x.c", "provision/api/msg.h", &why), 1);
	cr_assert_eq(check_own("gateway/wire.c", "provision/store/store.h", &why), 1);
	cr_assert_eq(check_own("gateway/wire.c", "provision/api/msg.h", &why), 0);
	cr_assert_eq(check_own("provision/store/x.c", "nss_vm2/module.h", &why), 1);
	cr_assert_eq(check_foreign("gateway/monitor.c", "libssh/libssh.h", &why), 1);
	cr_assert_eq(check_foreign("provision/daemon/x.c", "sqlite3.h", &why), 1);
	cr_assert_str_eq(why.data,
			 "provision/base/x.c may not include provision/api/msg.h (only: )\n"
			 "gateway/wire.c may not include provision/store/store.h "
			 "(only: provision/base provision/api)\n"
			 "provision/store/x.c may not include nss_vm2/module.h "
			 "(only: provision/base nss_vm2/snapshot.h)\n"
			 "gateway/monitor.c includes <libssh/libssh.h>, which belongs to gateway/wire\n"
			 "provision/daemon/x.c includes <sqlite3.h>, which belongs to provision/store\n");
}

Test(tree, nothing_else_stands_at_the_top)
{
	static const char known[] = " meson.build meson_options.txt README LICENSE NEWS gateway pam_vm2 "
				    "nss_vm2 provision firewall tests docs ";
	CLEANUP_CLOSEDIR DIR *dir = opendir(SOURCE_ROOT);
	struct dirent *de;

	cr_assert(dir);
	while ((de = readdir(dir))) {
		char word[300];

		snprintf(word, sizeof(word), " %s ", de->d_name);
		cr_expect(de->d_name[0] == '.' || strstr(known, word), "%s is not part of the house",
			  de->d_name);
	}
}
