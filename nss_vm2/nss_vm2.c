/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libnss_vm2.so.2: the functions that glibc's name service switch calls (nss(5), and "Extending
 * NSS" in the glibc manual). It lives in every process of the host, privileged ones too: it reads
 * one file, keeps no descriptor, waits for nobody and looks at no environment. What it remembers
 * between calls is what it has read (nss_vm2/cache.h) and where enumerations stand.
 */
#include <errno.h>
#include <nss.h>
#include <time.h>

#include "nss_vm2/cache.h"
#include "nss_vm2/entries.h"
#include "nss_vm2/snapshot.h"

typedef int entry_fn(const struct snapshot_reader *r, const struct found *f, void *entry,
		     char *buf, size_t len);

static struct cache cache = CACHE_INIT;

/*
 * Where an enumeration stands: behind this name. glibc's interface wants that between calls; a name
 * rather than a place, so that a snapshot replaced meanwhile neither repeats nor skips those who are
 * in both.
 */
struct cursor {
	atomic_flag taken;
	char last[SNAPSHOT_NAME_MAX + 1];
	uint32_t place; /* a hint where that name was */
};

static struct cursor passwd_cursor = { ATOMIC_FLAG_INIT, "", 0 };
static struct cursor group_cursor = { ATOMIC_FLAG_INIT, "", 0 };
static struct cursor shadow_cursor = { ATOMIC_FLAG_INIT, "", 0 };

/* How often another thread's step is waited for, a millisecond each. */
#define CURSOR_PATIENCE 1000

/* What is asked for, and where the answer goes. */
struct query {
	const char *name; /* NULL: by number */
	uint32_t number;
	struct cursor *cursor; /* not NULL: the next one */
	entry_fn *fill;
	void *entry;
	char *buf;
	size_t len;
};

/* When the module is unloaded; a copy in use goes with the process. */
__attribute__((destructor)) static void unload(void)
{
	cache_drop(&cache);
}

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

/* The next tenant; the cursor moves only when the caller's buffer had room. Guests are not listed. */
static int next(const struct snapshot_reader *r, const struct query *q)
{
	struct found f = { .guest_id = -1 };
	struct cursor *c = q->cursor;
	uint32_t place = c->place;
	int e;

	if (!r->listed)
		return -ENOENT;
	e = snapshot_after(r, c->last, &place, &f.tenant);
	if (e == 0)
		e = q->fill(r, &f, q->entry, q->buf, q->len);
	if (e == 0) {
		memcpy(c->last, f.tenant.name, sizeof(c->last));
		c->place = place;
	}
	return e;
}

static int look_up(const struct snapshot_reader *r, const struct query *q)
{
	struct found f;
	int e;

	if (q->cursor)
		return next(r, q);
	e = q->name ? found_by_name(r, q->name, &f) : found_by_number(r, q->number, &f);
	if (e == 0 && q->fill)
		e = q->fill(r, &f, q->entry, q->buf, q->len);
	return e;
}

/* By the file itself; apart, for the window on its stack, which is zeroed each time. */
static __attribute__((noinline)) int ask_file(const struct query *q, bool *ret_opened)
{
	struct snapshot_window window;
	struct snapshot_reader r;
	int e = snapshot_open(SNAPSHOT_PATH, &window, &r);

	*ret_opened = e == 0;
	if (e < 0)
		return e;
	e = look_up(&r, q);
	snapshot_close(&r);
	return e;
}

static enum nss_status ask(const struct query *q, int *errnop)
{
	int saved = errno, e;
	const struct snapshot_reader *kept = cache_take(&cache, SNAPSHOT_PATH);
	bool opened;

	if (kept) {
		e = look_up(kept, q);
		cache_give(&cache, e == 0 || e == -ENOENT || e == -ERANGE);
		if (e == 0 || e == -ENOENT || e == -ERANGE)
			return answer(e, saved, errnop);
	}
	/* What is kept is broken, or another's just now: the file itself says what there is. */
	e = ask_file(q, &opened);
	return opened ? answer(e, saved, errnop) : no_snapshot(e, saved, errnop);
}

static enum nss_status lookup(const char *name, uint32_t number, entry_fn *fill, void *entry,
			      char *buf, size_t len, int *errnop)
{
	struct query q = { name, number, NULL, fill, entry, buf, len };

	/* What can be nobody's of ours costs no look at the file. */
	if (name && (name[0] < 'a' || name[0] > 'z'))
		return answer(-ENOENT, errno, errnop);
	return ask(&q, errnop);
}

/*
 * glibc has a lock of its own around enumerations. Should this one be held by a thread that a fork(2)
 * left behind, the child gives up rather than wait for ever.
 */
static bool cursor_take(struct cursor *c)
{
	struct timespec pause = { .tv_nsec = 1000000 };

	for (int i = 0; i < CURSOR_PATIENCE; i++) {
		if (!atomic_flag_test_and_set_explicit(&c->taken, memory_order_acquire))
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

static void cursor_give(struct cursor *c)
{
	atomic_flag_clear_explicit(&c->taken, memory_order_release);
}

static enum nss_status rewind_cursor(struct cursor *c)
{
	if (!cursor_take(c))
		return NSS_STATUS_TRYAGAIN;
	c->last[0] = 0;
	cursor_give(c);
	return NSS_STATUS_SUCCESS;
}

static enum nss_status enumerate(struct cursor *c, entry_fn *fill, void *entry, char *buf,
				 size_t len, int *errnop)
{
	struct query q = { NULL, 0, c, fill, entry, buf, len };
	enum nss_status status;

	if (!cursor_take(c))
		return answer(-EAGAIN, errno, errnop);
	status = ask(&q, errnop);
	cursor_give(c);
	return status;
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
	return enumerate(&passwd_cursor, entry_passwd, pw, buf, len, errnop);
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
	return enumerate(&group_cursor, entry_group, gr, buf, len, errnop);
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
	return enumerate(&shadow_cursor, entry_shadow, sp, buf, len, errnop);
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
