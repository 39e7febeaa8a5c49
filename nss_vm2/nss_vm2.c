/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libnss_vm2.so.2: the functions that glibc's name service switch calls (nss(5), and "Extending
 * NSS" in the glibc manual). It lives in every process of the host, privileged ones too: it reads
 * one file, keeps no descriptor, allocates nothing and looks at no environment.
 */
#include <errno.h>
#include <nss.h>
#include <pthread.h>

#include "nss_vm2/entries.h"
#include "nss_vm2/snapshot.h"

typedef int entry_fn(const struct snapshot_reader *r, const struct found *f, void *entry,
		     char *buf, size_t len);

/*
 * Where an enumeration stands: behind this name. glibc's interface wants that between calls, so it
 * is the one thing this module remembers; a name rather than a place, so that a snapshot replaced
 * meanwhile neither repeats nor skips those who are in both.
 */
struct cursor {
	pthread_mutex_t lock;
	char last[SNAPSHOT_NAME_MAX + 1];
	uint32_t place; /* a hint where that name was */
};

static struct cursor passwd_cursor = { PTHREAD_MUTEX_INITIALIZER, "", 0 };
static struct cursor group_cursor = { PTHREAD_MUTEX_INITIALIZER, "", 0 };
static struct cursor shadow_cursor = { PTHREAD_MUTEX_INITIALIZER, "", 0 };

/* What glibc wants to hear for 0 or -errno; a result leaves the caller's errno alone. */
static enum nss_status answer(int e, int saved_errno, int *errnop)
{
	errno = saved_errno;
	if (e == 0)
		return NSS_STATUS_SUCCESS;
	*errnop = -e;
	if (e == -ERANGE || e == -EAGAIN)
		return NSS_STATUS_TRYAGAIN;
	return e == -ENOENT ? NSS_STATUS_NOTFOUND : NSS_STATUS_UNAVAIL;
}

/* The file cannot be opened: unavailable, whatever the reason. */
static enum nss_status no_snapshot(int e, int saved_errno, int *errnop)
{
	errno = saved_errno;
	*errnop = -e;
	return NSS_STATUS_UNAVAIL;
}

static enum nss_status lookup(const char *name, uint32_t number, entry_fn *fill, void *entry,
			      char *buf, size_t len, int *errnop)
{
	struct snapshot_reader r;
	int saved = errno;
	struct found f;
	int e;

	e = snapshot_open(SNAPSHOT_PATH, &r);
	if (e < 0)
		return no_snapshot(e, saved, errnop);
	e = name ? found_by_name(&r, name, &f) : found_by_number(&r, number, &f);
	if (e == 0 && fill)
		e = fill(&r, &f, entry, buf, len);
	snapshot_close(&r);
	return answer(e, saved, errnop);
}

static enum nss_status rewind_cursor(struct cursor *c)
{
	pthread_mutex_lock(&c->lock);
	c->last[0] = 0;
	pthread_mutex_unlock(&c->lock);
	return NSS_STATUS_SUCCESS;
}

/* The next tenant; the cursor moves only when the caller's buffer had room. Guests are not listed. */
static enum nss_status next(struct cursor *c, entry_fn *fill, void *entry, char *buf, size_t len,
			    int *errnop)
{
	struct found f = { .guest_id = -1 };
	struct snapshot_reader r;
	int saved = errno;
	uint32_t place;
	int e;

	e = snapshot_open(SNAPSHOT_PATH, &r);
	if (e < 0)
		return no_snapshot(e, saved, errnop);
	pthread_mutex_lock(&c->lock);
	place = c->place;
	e = snapshot_after(&r, c->last, &place, &f.tenant);
	if (e == 0)
		e = fill(&r, &f, entry, buf, len);
	if (e == 0) {
		memcpy(c->last, f.tenant.name, sizeof(c->last));
		c->place = place;
	}
	pthread_mutex_unlock(&c->lock);
	snapshot_close(&r);
	return answer(e, saved, errnop);
}

/* glibc declares no prototypes for what a module exports. */
#define EXPORT(declaration)                                                 \
	enum nss_status declaration __attribute__((visibility("default"))); \
	enum nss_status declaration

EXPORT(_nss_vm2_getpwnam_r(const char *name, struct passwd *pw, char *buf, size_t len, int *errnop))
{
	return lookup(name, 0, entry_passwd, pw, buf, len, errnop);
}

EXPORT(_nss_vm2_getpwuid_r(uid_t uid, struct passwd *pw, char *buf, size_t len, int *errnop))
{
	return lookup(NULL, uid, entry_passwd, pw, buf, len, errnop);
}

EXPORT(_nss_vm2_setpwent(int stayopen))
{
	(void)stayopen;
	return rewind_cursor(&passwd_cursor);
}

EXPORT(_nss_vm2_getpwent_r(struct passwd *pw, char *buf, size_t len, int *errnop))
{
	return next(&passwd_cursor, entry_passwd, pw, buf, len, errnop);
}

EXPORT(_nss_vm2_endpwent(void))
{
	return rewind_cursor(&passwd_cursor);
}

EXPORT(_nss_vm2_getgrnam_r(const char *name, struct group *gr, char *buf, size_t len, int *errnop))
{
	return lookup(name, 0, entry_group, gr, buf, len, errnop);
}

EXPORT(_nss_vm2_getgrgid_r(gid_t gid, struct group *gr, char *buf, size_t len, int *errnop))
{
	return lookup(NULL, gid, entry_group, gr, buf, len, errnop);
}

EXPORT(_nss_vm2_setgrent(int stayopen))
{
	(void)stayopen;
	return rewind_cursor(&group_cursor);
}

EXPORT(_nss_vm2_getgrent_r(struct group *gr, char *buf, size_t len, int *errnop))
{
	return next(&group_cursor, entry_group, gr, buf, len, errnop);
}

EXPORT(_nss_vm2_endgrent(void))
{
	return rewind_cursor(&group_cursor);
}

EXPORT(_nss_vm2_getspnam_r(const char *name, struct spwd *sp, char *buf, size_t len, int *errnop))
{
	return lookup(name, 0, entry_shadow, sp, buf, len, errnop);
}

EXPORT(_nss_vm2_setspent(int stayopen))
{
	(void)stayopen;
	return rewind_cursor(&shadow_cursor);
}

EXPORT(_nss_vm2_getspent_r(struct spwd *sp, char *buf, size_t len, int *errnop))
{
	return next(&shadow_cursor, entry_shadow, sp, buf, len, errnop);
}

EXPORT(_nss_vm2_endspent(void))
{
	return rewind_cursor(&shadow_cursor);
}

/*
 * A tenant is in no group but its own. Answered here because glibc would otherwise walk through
 * all groups of this module at every login of anybody.
 */
EXPORT(_nss_vm2_initgroups_dyn(const char *user, gid_t group, long int *start, long int *size,
			       gid_t **groups, long int limit, int *errnop))
{
	(void)group;
	(void)start;
	(void)size;
	(void)groups;
	(void)limit;
	return lookup(user, 0, NULL, NULL, NULL, 0, errnop);
}
