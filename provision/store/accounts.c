/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/store/accounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "nss_vm2/snapshot.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/store/db.h"

#define HOME  "/var/lib/vm2/empty"
#define SHELL "/usr/bin/vm2-shell"

/* The accounts inside guests: lists that many guests share, by the ids that the database has for them. */
struct inside {
	uint64_t id;
	char *list;
};

struct list {
	struct snapshot_account *accounts;
	char (*names)[STORE_NAME_SIZE];
	uint32_t count;
	struct inside *insides; /* in order of their ids */
	size_t n_insides, room;
};

static void free_list(struct list *l)
{
	for (size_t i = 0; i < l->n_insides; i++)
		free(l->insides[i].list);
	free(l->insides);
	free(l->accounts);
	free(l->names);
}

static int fill_insides(struct store *store, struct list *l, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err, "SELECT id, list FROM inside ORDER BY id", "");

	while (r == 0 && (r = db_step(store, s, err)) == 1) {
		if (l->n_insides == l->room) {
			l->room = l->room * 2 + 16;
			l->insides = reallocarray(l->insides, l->room, sizeof(*l->insides));
			if (!l->insides)
				abort();
		}
		l->insides[l->n_insides++] = (struct inside){ db_u64(s, 0),
			xstrdup((const char *)sqlite3_column_text(s, 1)) };
		r = 0;
	}
	return r;
}

static int compare_insides(const void *a, const void *b)
{
	const struct inside *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* NULL for the id 0, which is none's. */
static const char *find_inside(const struct list *l, uint64_t id)
{
	const struct inside wanted = { .id = id };
	const struct inside *found = id && l->n_insides ?
		bsearch(&wanted, l->insides, l->n_insides, sizeof(wanted), compare_insides) :
		NULL;

	return found ? found->list : NULL;
}

static int fill(struct store *store, struct list *l, uint64_t count, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err,
		"SELECT t.name, t.uid, g.uid_base, g.inside FROM tenant t"
		" LEFT JOIN guest g ON g.tenant = t.id",
		"");

	if (r != 0)
		return r;
	l->accounts = xcalloc(count + 1, sizeof(*l->accounts));
	l->names = xcalloc(count + 1, sizeof(*l->names));
	while ((r = db_step(store, s, err)) == 1 && l->count < count) {
		db_text(s, 0, l->names[l->count], STORE_NAME_SIZE);
		l->accounts[l->count] = (struct snapshot_account){ .name = l->names[l->count],
			.uid = (uint32_t)db_u64(s, 1),
			.guest_base = (uint32_t)db_u64(s, 2),
			.inside = find_inside(l, db_u64(s, 3)) };
		l->count++;
	}
	return r;
}

/* Count and rows in one read transaction, so that they agree. */
static int read_accounts(struct store *store, struct list *l, struct err *err)
{
	struct store_counts counts;
	int r = db_exec(store, "BEGIN", "read the accounts", err);

	if (r != 0)
		return r;
	r = store_count(store, &counts, err);
	if (r == 0)
		r = fill_insides(store, l, err);
	if (r == 0)
		r = fill(store, l, counts.tenants, err);
	return db_end(store, r, err);
}

/* Not the one of the file before. */
static uint32_t generation(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint32_t)t.tv_sec * 1000000007U + (uint32_t)t.tv_nsec;
}

static int write_snapshot(const struct list *l, bool listed, int folder, const char *name,
	struct err *err)
{
	CLEANUP_FREE void *data = NULL;
	size_t len = 0;
	const struct snapshot_options options = { HOME, SHELL, !listed, generation() };
	int r = snapshot_encode(l->accounts, l->count, &options, &data, &len);

	if (r < 0)
		return err_sys(err, -r, "cannot encode the snapshot of accounts");
	/* Without fsync: it lies in /run and is made anew at every start. */
	r = fd_replace_file(folder, name, data, len, 0644, 0);
	return r < 0 ? err_sys(err, -r, "cannot write the snapshot of accounts") : 0;
}

/*
 * In the lock's file, shared by all who publish: how many have begun, and which of them was the last
 * to end. Who has waited for the lock and finds that one both began and ended meanwhile has nothing
 * left to do: that one read the database after the waiting one's change. So of many changes at once
 * each is published soon, by few writings.
 */
struct turns {
	_Atomic uint64_t begun;
	_Atomic uint64_t ended;
};

static void unmap_turns(struct turns **t)
{
	if (*t)
		munmap(*t, sizeof(**t));
}

static int open_turns(int folder, int *ret_lock, struct turns **ret)
{
	void *map;
	int lock = openat(folder, ".accounts.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (lock < 0)
		return -errno;
	*ret_lock = lock;
	/* It only ever grows to this. */
	if (ftruncate(lock, sizeof(struct turns)) < 0)
		return -errno;
	map = mmap(NULL, sizeof(struct turns), PROT_READ | PROT_WRITE, MAP_SHARED, lock, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret = map;
	return 0;
}

static int publish_locked(struct store *store, const struct config *config, int folder,
	const char *name, struct err *err)
{
	__attribute__((cleanup(free_list))) struct list list = { 0 };
	/* Who has read the old file trusts it for so long (nss_vm2/cache.h). */
	struct timespec trust = { .tv_nsec = SNAPSHOT_TRUST_NS };
	int r = read_accounts(store, &list, err);

	if (r == 0)
		r = write_snapshot(&list, config->enumerate, folder, name, err);
	if (r == 0)
		nanosleep(&trust, NULL);
	return r;
}

int accounts_publish(struct store *store, const struct config *config, struct err *err)
{
	__attribute__((cleanup(unmap_turns))) struct turns *turns = NULL;
	CLEANUP_FREE char *path = xstrdup(config->accounts);
	CLEANUP_CLOSE int folder = -1, lock = -1;
	char *slash = strrchr(path, '/');
	uint64_t before, turn;
	int r;

	*slash = '\0';
	folder = open(*path ? path : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return err_sys(err, errno, "cannot open the folder of %s", config->accounts);
	r = open_turns(folder, &lock, &turns);
	if (r < 0)
		return err_sys(err, -r, "cannot open the lock of %s", config->accounts);
	before = turns->begun;
	/* A lock of its own open file: gone with this process however that ends. */
	do
		r = flock(lock, LOCK_EX);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_sys(err, errno, "cannot lock the folder of %s", config->accounts);
	if (turns->ended > before && faccessat(folder, slash + 1, F_OK, 0) == 0)
		return 0;
	turn = ++turns->begun;
	r = publish_locked(store, config, folder, slash + 1, err);
	if (r == 0)
		turns->ended = turn;
	return r;
}
