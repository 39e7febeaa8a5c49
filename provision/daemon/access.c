/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/access.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "provision/base/cleanup.h"
#include "provision/base/str.h"

void access_load(const struct config *config, struct access *ret)
{
	const struct passwd *user = getpwnam(config->gateway_user);
	const struct group *group;

	*ret = (struct access){ .has_gateway = user != NULL };
	if (user)
		ret->gateway = user->pw_uid;
	group = getgrnam(config->staff_group);
	ret->has_staff = group != NULL;
	if (group)
		ret->staff = group->gr_gid;
	group = getgrnam(config->audit_group);
	ret->has_audit = group != NULL;
	if (group)
		ret->audit = group->gr_gid;
}

static int credentials(int fd, struct ucred *ret)
{
	socklen_t len = sizeof(*ret);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &len) < 0 ? -errno : 0;
}

int access_peer_uid(int fd, uid_t *ret)
{
	struct ucred c;
	int r = credentials(fd, &c);

	if (r == 0)
		*ret = c.uid;
	return r;
}

static unsigned int group_role(const struct access *a, gid_t gid)
{
	unsigned int roles = 0;

	if (a->has_staff && gid == a->staff)
		roles |= ROLE_STAFF;
	if (a->has_audit && gid == a->audit)
		roles |= ROLE_AUDIT;
	return roles;
}

static int group_roles(const struct access *a, int fd, unsigned int *roles)
{
	CLEANUP_FREE gid_t *groups = NULL;
	socklen_t len = 0;

	/* The first call tells how long the list is; it was fixed when the peer connected. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) < 0 && errno != ERANGE)
		return -errno;
	if (len == 0)
		return 0;
	groups = xcalloc(1, len);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return -errno;
	for (size_t i = 0; i < len / sizeof(*groups); i++)
		*roles |= group_role(a, groups[i]);
	return 0;
}

int access_peer(const struct access *access, int fd, struct peer *ret, struct err *err)
{
	struct ucred c = { 0 };
	unsigned int roles = 0;
	int r = credentials(fd, &c);

	/* pid 0: a process that our pid namespace does not show; nobody whom we know. */
	if (r == 0 && c.pid <= 0)
		r = -EACCES;
	if (r == 0 && c.uid == 0)
		roles |= ROLE_ROOT;
	if (r == 0 && access->has_gateway && c.uid == access->gateway)
		roles |= ROLE_GATEWAY;
	if (r == 0 && c.uid != 0) {
		roles |= group_role(access, c.gid);
		r = group_roles(access, fd, &roles);
	}
	if (r < 0)
		return err_sys(err, -r, "cannot tell who asks");
	*ret = (struct peer){ .pid = c.pid, .uid = c.uid, .roles = roles };
	return 0;
}

void access_words(unsigned int roles, char *ret, size_t size)
{
	static const struct {
		unsigned int role;
		const char *word;
	} words[] = { { ROLE_GATEWAY, "gateway" }, { ROLE_STAFF, "staff" }, { ROLE_AUDIT, "audit" },
		{ ROLE_SELF, "self" }, { ROLE_SESSION, "session" } };
	size_t len = 0;

	snprintf(ret, size, "root");
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (roles & words[i].role && len < size)
			len += (size_t)snprintf(
				ret + len, size - len, "%s%s", len ? " " : "", words[i].word);
}
