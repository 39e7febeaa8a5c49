/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files that setup writes: configuration, host keys, PAM service, nsswitch.conf. */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "build.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/cli/nsswitch.h"
#include "provision/cli/setup.h"

#define FILE_MAX 65536
#define PAM_FILE VM2_SYSCONFDIR "/pam.d/vm2-gateway"
#define NSSWITCH VM2_SYSCONFDIR "/nsswitch.conf"

/* Replace a file by its path. */
static int put(const char *path, const char *text, size_t len, mode_t mode, struct err *err)
{
	CLEANUP_FREE char *for_dirname = xstrdup(path), *for_basename = xstrdup(path);
	CLEANUP_CLOSE int dir = open(dirname(for_dirname), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = dir < 0 ? -errno : fd_replace_file(dir, basename(for_basename), text, len, mode, 1);

	return r < 0 ? err_sys(err, -r, "cannot write %s", path) : 0;
}

/* --- configuration --- */

int setup_config_up(struct setup *s, struct err *err)
{
	const char *path = s->cli->config_path ? s->cli->config_path : CONFIG_DEFAULT_PATH;
	CLEANUP_FREE char *text = NULL, *for_dirname = xstrdup(path);
	size_t len = 0;
	FILE *out;
	int r;

	if (access(path, F_OK) == 0)
		return 0;
	r = fd_mkdirs(dirname(for_dirname), 0755);
	if (r < 0)
		return err_sys(err, -r, "cannot make the folder of %s", path);
	out = open_memstream(&text, &len);
	if (!out)
		return err_sys(err, errno, "cannot write %s", path);
	config_write_defaults(out);
	if (fclose(out) != 0)
		return err_sys(err, errno, "cannot write %s", path);
	r = put(path, text, len, 0644, err);
	if (r == 0)
		setup_note(s, "wrote %s with all defaults", path);
	return r;
}

int setup_config_down(struct setup *s, struct err *err)
{
	int r;

	if (!s->purge || s->cli->config_path || access("/etc/vm2", F_OK) < 0)
		return 0;
	r = fd_remove_tree(AT_FDCWD, "/etc/vm2");
	if (r < 0)
		return err_sys(err, -r, "cannot remove /etc/vm2");
	setup_note(s, "removed /etc/vm2");
	return 0;
}

/* --- host keys --- */

/* Two renames: the private half last, since it is what says that the key is there. */
static int keep_key(const char *fresh, const char *path, gid_t group, struct err *err)
{
	CLEANUP_FREE char *fresh_public = xasprintf("%s.pub", fresh);
	CLEANUP_FREE char *public = xasprintf("%s.pub", path);

	/* The gateway reads its keys by group and cannot write them. */
	if (chown(fresh, 0, group) < 0 || chmod(fresh, 0640) < 0 || chmod(fresh_public, 0644) < 0 ||
	    rename(fresh_public, public) < 0 || rename(fresh, path) < 0)
		return err_sys(err, errno, "cannot keep the host key %s", path);
	return 0;
}

static int key_up(struct setup *s, const char *type, const char *bits, gid_t group, struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("%s/ssh_host_%s_key", s->config->hostkeys, type);
	CLEANUP_FREE char *fresh = xasprintf("%s/new_%s", s->config->hostkeys, type);
	CLEANUP_FREE char *fresh_public = xasprintf("%s.pub", fresh);
	int r;

	if (access(path, F_OK) == 0)
		return 0;
	unlink(fresh);
	unlink(fresh_public);
	r = setup_run(err, "/usr/bin/ssh-keygen", "-q", "-t", type, "-b", bits, "-N", "", "-C", "vm2",
		      "-f", fresh, NULL);
	if (r == 0)
		r = keep_key(fresh, path, group, err);
	if (r == 0)
		setup_note(s, "made the host key %s", path);
	return r;
}

int setup_keys_up(struct setup *s, struct err *err)
{
	static const char *const keys[][2] = { { "ed25519", "256" },
					       { "ecdsa", "256" },
					       { "rsa", "3072" } };
	uid_t uid;
	gid_t group;
	int r = setup_user(s->config, &uid, &group, err);

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(keys); i++)
		r = key_up(s, keys[i][0], keys[i][1], group, err);
	return r;
}

/* --- PAM --- */

static char *pam_text(const struct config *config)
{
	CLEANUP_FREE char *socket = strcmp(config->socket, "/run/vm2/vm2d.sock") ?
					    xasprintf(" socket=%s", config->socket) :
					    xstrdup("");

	return xasprintf("# Who may log in through vm2-gateway: vm2 host setup wrote this, pam_vm2(8).\n"
			 "auth      required  pam_vm2.so%s\n"
			 "account   required  pam_vm2.so%s\n"
			 "password  required  pam_vm2.so%s\n"
			 "session   required  pam_vm2.so%s\n",
			 socket, socket, socket, socket);
}

int setup_pam_up(struct setup *s, struct err *err)
{
	CLEANUP_FREE char *text = pam_text(s->config);
	int r;

	/* One that is there may be somebody's own work. */
	if (access(PAM_FILE, F_OK) == 0)
		return 0;
	r = put(PAM_FILE, text, strlen(text), 0644, err);
	if (r == 0)
		setup_note(s, "wrote %s", PAM_FILE);
	return r;
}

int setup_pam_down(struct setup *s, struct err *err)
{
	if (unlink(PAM_FILE) == 0)
		setup_note(s, "removed %s", PAM_FILE);
	else if (errno != ENOENT)
		return err_sys(err, errno, "cannot remove %s", PAM_FILE);
	return 0;
}

/* --- doors: su, login, cron and at ask pam_vm2 about tenants, and nobody runs their jobs here --- */

#define DOORS VM2_LIBEXECDIR "/doors"
#define DOORS_FILE VM2_SYSCONFDIR "/pam.d/vm2-doors"

int setup_doors_up(struct setup *s, struct err *err)
{
	struct err why = { 0 };
	bool was = access(DOORS_FILE, F_OK) == 0;

	/* A PAM file that somebody wrote anew may have no place for the line: host check names it. */
	if (setup_run(&why, DOORS, "open", "--local", NULL) != 0)
		setup_note(s, "not all of su, login, cron and at are told of tenants: %s", why.text);
	else if (!was)
		setup_note(s, "told su, login, cron and at of tenants (%s)", DOORS_FILE);
	return 0;
}

int setup_doors_down(struct setup *s, struct err *err)
{
	int r;

	if (access(DOORS_FILE, F_OK) < 0)
		return 0;
	r = setup_run(err, DOORS, "close", NULL);
	if (r == 0)
		setup_note(s, "removed %s", DOORS_FILE);
	return r;
}

/* --- names --- */

static int change_names(struct setup *s, bool (*change)(const char *text, struct buf *out),
			const char *what, struct err *err)
{
	CLEANUP_FREE char *path = realpath(NSSWITCH, NULL), *text = xcalloc(1, FILE_MAX);
	CLEANUP_BUF struct buf out = { 0 };
	struct stat st = { .st_mode = 0644 };
	ssize_t len = path ? fd_read_path(AT_FDCWD, path, text, FILE_MAX) : 0;
	int r;

	if (len < 0 || strlen(text) != (size_t)len)
		return err_sys(err, len < 0 ? (int)-len : EINVAL, "cannot read %s", NSSWITCH);
	if (path && stat(path, &st) < 0)
		return err_sys(err, errno, "cannot read %s", NSSWITCH);
	if (!change(text, &out))
		return 0;
	/* What setup made it takes away: without any line, the file was not there. */
	if (!out.len)
		r = path && unlink(path) < 0 ? err_sys(err, errno, "cannot remove %s", NSSWITCH) : 0;
	else
		r = put(path ? path : NSSWITCH, out.data, out.len, st.st_mode & 07777, err);
	if (r == 0)
		setup_note(s, "%s %s", what, NSSWITCH);
	return r;
}

int setup_names_up(struct setup *s, struct err *err)
{
	return change_names(s, nsswitch_add, "added vm2 to", err);
}

int setup_names_down(struct setup *s, struct err *err)
{
	return change_names(s, nsswitch_remove, "took vm2 out of", err);
}
