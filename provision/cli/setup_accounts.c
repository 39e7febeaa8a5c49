/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gateway's user, the groups of staff and auditors, and the folders that belong to them. */
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/cli/setup.h"

/* What useradd(8) takes, so that no setting is read as an option. */
static int check_name(const char *name, struct err *err)
{
	if (*name && *name != '-' && strlen(name) <= 32 &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(name))
		return 0;
	return err_set(err, ERR_USAGE, "'%s' cannot be the name of a user or group", name);
}

int setup_group(const char *name, gid_t *ret, struct err *err)
{
	struct group *g = getgrnam(name);

	if (!g)
		return err_set(err, ERR_NOT_FOUND, "there is no group %s; run vm2 host setup", name);
	*ret = g->gr_gid;
	return 0;
}

int setup_user(const struct config *config, uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
	struct passwd *p = getpwnam(config->gateway_user);

	if (!p)
		return err_set(err, ERR_NOT_FOUND, "there is no user %s; run vm2 host setup",
			       config->gateway_user);
	*ret_uid = p->pw_uid;
	*ret_gid = p->pw_gid;
	return 0;
}

static int group_up(struct setup *s, const char *name, struct err *err)
{
	int r = check_name(name, err);

	if (r != 0 || getgrnam(name))
		return r;
	r = setup_run(err, "/usr/sbin/groupadd", "--system", name, NULL);
	if (r == 0)
		setup_note(s, "made the group %s", name);
	return r;
}

int setup_accounts_up(struct setup *s, struct err *err)
{
	const char *user = s->config->gateway_user;
	int r = group_up(s, s->config->staff_group, err);

	if (r == 0)
		r = group_up(s, s->config->audit_group, err);
	if (r == 0)
		r = check_name(user, err);
	if (r != 0 || getpwnam(user))
		return r;
	/* No password, no shell, no home: nobody becomes this user but by root's doing. */
	r = setup_run(err, "/usr/sbin/useradd", "--system", "--user-group", "--no-create-home",
		      "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", "--comment",
		      "VM2 SSH gateway", user, NULL);
	if (r == 0)
		setup_note(s, "made the user %s", user);
	return r;
}

static int group_down(struct setup *s, const char *name, struct err *err)
{
	int r = check_name(name, err);

	if (r != 0 || !getgrnam(name))
		return r;
	r = setup_run(err, "/usr/sbin/groupdel", name, NULL);
	if (r == 0)
		setup_note(s, "removed the group %s", name);
	return r;
}

int setup_accounts_down(struct setup *s, struct err *err)
{
	const char *user = s->config->gateway_user;
	int r = check_name(user, err);

	/* Never a person's account that somebody named in the configuration, and never root. */
	if (r == 0 && getpwnam(user) && getpwnam(user)->pw_uid != 0 && getpwnam(user)->pw_uid < 1000) {
		r = setup_run(err, "/usr/sbin/userdel", user, NULL);
		if (r == 0)
			setup_note(s, "removed the user %s", user);
	}
	if (r == 0)
		r = group_down(s, s->config->staff_group, err);
	return r == 0 ? group_down(s, s->config->audit_group, err) : r;
}

/* --- folders --- */

struct folder {
	const char *path;
	mode_t mode;
	gid_t group;
};

static int folder_up(struct setup *s, const struct folder *f, struct err *err)
{
	struct stat st;
	CLEANUP_CLOSE int fd = -1;
	bool made = access(f->path, F_OK) < 0;
	int r = fd_mkdirs(f->path, 0755);

	if (r < 0)
		return err_sys(err, -r, "cannot make the folder %s", f->path);
	fd = open(f->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot open the folder %s", f->path);
	if (!made && (st.st_mode & 07777) == f->mode && st.st_uid == 0 && st.st_gid == f->group)
		return 0;
	/* By descriptor and not through a symlink: nobody can make us chown something else. */
	if (fchown(fd, 0, f->group) < 0 || fchmod(fd, f->mode) < 0)
		return err_sys(err, errno, "cannot set owner and mode of %s", f->path);
	setup_note(s, "%s the folder %s", made ? "made" : "set owner and mode of", f->path);
	return 0;
}

int setup_folders_up(struct setup *s, struct err *err)
{
	const struct config *c = s->config;
	CLEANUP_FREE char *empty = xasprintf("%s/empty", c->state);
	gid_t gateway = 0, audit = 0;
	uid_t uid;
	int r = setup_user(c, &uid, &gateway, err);

	if (r == 0)
		r = setup_group(c->audit_group, &audit, err);
	if (r != 0)
		return r;

	const struct folder folders[] = {
		{ c->state, 0755, 0 },	      { c->templates, 0700, 0 },
		{ c->guests, 0700, 0 },	      { c->sessions, 0700, 0 },
		{ c->ledger, 0750, audit },   { c->hostkeys, 0750, gateway },
		{ empty, 0555, 0 },	      { c->run, 0755, 0 },
		{ "/var/log/vm2", 0750, 0 },
	};
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(folders); i++)
		r = folder_up(s, &folders[i], err);
	return r;
}

/* A folder that something is mounted on can be emptied but not removed: that is enough. */
static int tree_down(struct setup *s, const char *path, struct err *err)
{
	int r;

	if (access(path, F_OK) < 0)
		return 0;
	r = fd_remove_tree(AT_FDCWD, path);
	if (r < 0 && r != -EBUSY)
		return err_sys(err, -r, "cannot remove %s", path);
	setup_note(s, "%s %s", r < 0 ? "emptied" : "removed", path);
	return 0;
}

int setup_folders_down(struct setup *s, struct err *err)
{
	int r = tree_down(s, s->config->run, err);

	if (r == 0 && s->purge)
		r = tree_down(s, "/var/log/vm2", err);
	return r == 0 && s->purge ? tree_down(s, s->config->state, err) : r;
}
