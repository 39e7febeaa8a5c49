/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The profile of guests, where the host's kernel has AppArmor: vm2-guest and vm2-session apply it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/cli/apparmor.h"
#include "provision/cli/setup.h"

#define ENABLED "/sys/module/apparmor/parameters/enabled"
#define PARSER "/sbin/apparmor_parser"
#define FOLDER VM2_SYSCONFDIR "/apparmor.d"
#define NAME "vm2-guest"
#define PROFILE FOLDER "/" NAME

static bool is_enabled(void)
{
	char text[8];

	return fd_read_path(AT_FDCWD, ENABLED, text, sizeof(text)) > 0 && text[0] == 'Y';
}

int setup_apparmor_up(struct setup *s, struct err *err)
{
	CLEANUP_BUF struct buf profile = { 0 };
	CLEANUP_CLOSE int folder = -1;
	struct err why = { 0 };
	char there[8192];
	int r;

	if (!is_enabled())
		return 0;
	if (access(PARSER, X_OK) < 0) {
		setup_note(s, "guests have no AppArmor profile: install apparmor, then run this again");
		return 0;
	}
	apparmor_profile(&profile);
	if (fd_read_path(AT_FDCWD, PROFILE, there, sizeof(there)) >= 0 && strcmp(there, profile.data) == 0)
		return 0; /* the boot loads what is there */
	r = fd_mkdirs(FOLDER, 0755);
	folder = r < 0 ? -1 : open(FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return err_sys(err, r < 0 ? -r : errno, "cannot open %s", FOLDER);
	r = fd_replace_file(folder, NAME, profile.data, profile.len, 0644, 1);
	if (r < 0)
		return err_sys(err, -r, "cannot write %s", PROFILE);
	/* Not a failure: it is one fence of several, and a host in a container may not load any. */
	if (setup_run(&why, PARSER, "--replace", PROFILE, NULL) != 0) {
		unlinkat(folder, NAME, 0);
		setup_note(s, "guests have no AppArmor profile: %s", why.text);
		return 0;
	}
	setup_note(s, "loaded the AppArmor profile of guests (%s)", PROFILE);
	return 0;
}

int setup_apparmor_down(struct setup *s, struct err *err)
{
	struct err why = { 0 };

	if (access(PROFILE, F_OK) < 0)
		return 0;
	/* One that was not loaded cannot be unloaded: that is no failure. */
	if (is_enabled() && access(PARSER, X_OK) == 0)
		setup_run(&why, PARSER, "--remove", PROFILE, NULL);
	if (unlink(PROFILE) < 0 && errno != ENOENT)
		return err_sys(err, errno, "cannot remove %s", PROFILE);
	setup_note(s, "removed the AppArmor profile of guests");
	return 0;
}
