/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nss_vm2/cache.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ns(void)
{
	struct timespec t;

	/* No system call (vdso(7)). */
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void close_file(struct cache *c)
{
	if (c->kept.fd >= 0)
		close(c->kept.fd);
	c->kept.fd = -1;
}

static void forget(struct cache *c)
{
	if (c->kept.pages)
		munmap(c->kept.pages, c->kept.len);
	close_file(c);
	c->kept.pages = NULL;
}

/* Room for the file and two bitmaps; what is not touched of it costs nothing. */
static bool make_room(struct cache *c, const char *path)
{
	size_t pages = (size_t)c->reader.lines / (SNAPSHOT_PAGE / LINE_SIZE) + 1;
	size_t have = pages * SNAPSHOT_PAGE, checked = have + pages / 8 + 1;
	size_t len = checked + (size_t)c->reader.lines / 8 + 1;
	unsigned char *memory = mmap(NULL, len, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return false;
	c->kept = (struct snapshot_kept){ .path = path,
					  .fd = c->reader.fd,
					  .pages = memory,
					  .have = memory + have,
					  .checked = memory + checked,
					  .left = CACHE_BYTES_MAX / SNAPSHOT_PAGE,
					  .len = len };
	return true;
}

/* Its own function: the window, which only opening wants, is not on the stack of each lookup. */
static __attribute__((noinline)) bool load(struct cache *c, const char *path)
{
	struct snapshot_window window;

	if (snapshot_open(path, &window, &c->reader) < 0)
		return false;
	if (!make_room(c, path)) {
		snapshot_close(&c->reader);
		return false;
	}
	c->reader.window = NULL;
	c->reader.fd = -1;
	c->reader.kept = &c->kept;
	return true;
}

static bool is_current(struct cache *c, const char *path)
{
	int64_t now = now_ns();
	struct stat st;

	if (!c->kept.pages || c->kept.left == 0)
		return false;
	if (now >= c->checked_ns && now - c->checked_ns < SNAPSHOT_TRUST_NS)
		return true;
	/* The time before the stat(2): what it says is at least as new. */
	if (lstat(path, &st) < 0 || !snapshot_same_file(&c->reader.id, &st))
		return false;
	c->checked_ns = now;
	return true;
}

const struct snapshot_reader *cache_take(struct cache *c, const char *path)
{
	if (atomic_flag_test_and_set_explicit(&c->taken, memory_order_acquire))
		return NULL;
	if (is_current(c, path))
		return &c->reader;
	forget(c);
	c->checked_ns = now_ns();
	if (load(c, path))
		return &c->reader;
	atomic_flag_clear_explicit(&c->taken, memory_order_release);
	return NULL;
}

void cache_give(struct cache *c, bool keep)
{
	if (keep)
		close_file(c);
	else
		forget(c);
	atomic_flag_clear_explicit(&c->taken, memory_order_release);
}

void cache_drop(struct cache *c)
{
	if (atomic_flag_test_and_set_explicit(&c->taken, memory_order_acquire))
		return;
	forget(c);
	atomic_flag_clear_explicit(&c->taken, memory_order_release);
}
