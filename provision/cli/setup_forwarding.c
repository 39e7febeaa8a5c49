/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests reach the world through the host: its kernel has to forward. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "build.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/cli/setup.h"

#define FILE_MAX 16384
#define FOLDER VM2_SYSCONFDIR "/sysctl.d"
#define FILE_PATH FOLDER "/60-vm2.conf"
#define BEFORE "# before: "
#define NO_FOLDER BEFORE "no " FOLDER
#define RTF_ADDRCONF 0x40000 /* linux/ipv6_route.h: learned from a router */

/* "net.ipv4.ip_forward" as a file; dots within an interface's name are written as slashes, as
 * sysctl.d(5) has it. */
static void proc_path(const char *key, char *path, size_t cap)
{
	size_t at = (size_t)snprintf(path, cap, "/proc/sys/%s", key);

	for (size_t i = strlen("/proc/sys/"); i < at && i < cap; i++) {
		if (path[i] == '.')
			path[i] = '/';
		else if (path[i] == '/')
			path[i] = '.';
	}
}

static int read_value(const char *key, char *value, size_t cap)
{
	char path[256];
	ssize_t len;

	proc_path(key, path, sizeof(path));
	len = fd_read_path(AT_FDCWD, path, value, cap);
	if (len < 0)
		return (int)len;
	value[strcspn(value, "\n")] = '\0';
	return 0;
}

static int write_value(const char *key, const char *value, struct err *err)
{
	char path[256];
	int r;

	proc_path(key, path, sizeof(path));
	r = fd_write_path(AT_FDCWD, path, value);
	return r < 0 ? err_sys(err, -r, "cannot set %s = %s", key, value) : 0;
}

/* Set a value now, and for later in the file's text, with what it was before. */
static int set(struct setup *s, struct buf *file, const char *key, const char *value,
	       struct err *err)
{
	char now[64] = "";
	int r = read_value(key, now, sizeof(now));

	if (r == -ENOENT) /* a kernel without IPv6, or with it off */
		return 0;
	if (r < 0)
		return err_sys(err, -r, "cannot read %s", key);
	buf_printf(file, BEFORE "%s = %s\n%s = %s\n", key, now, key, value);
	if (!strcmp(now, value))
		return 0;
	r = write_value(key, value, err);
	if (r == 0)
		setup_note(s, "set %s = %s", key, value);
	return r;
}

/*
 * A host that forwards stops listening to its own router (kernel, ip-sysctl: accept_ra) unless told
 * to go on: else this step would cost it its IPv6 default route.
 */
static int keep_router(struct setup *s, struct buf *file, struct err *err)
{
	CLEANUP_FCLOSE FILE *routes = fopen("/proc/net/ipv6_route", "re");
	char line[256], done[IF_NAMESIZE] = "";
	int r = 0;

	while (r == 0 && routes && fgets(line, sizeof(line), routes)) {
		char to[40], name[IF_NAMESIZE], key[96], now[16];
		unsigned int prefix, flags;

		if (sscanf(line, "%39s %x %*s %*s %*s %*s %*s %*s %x %15s", to, &prefix, &flags, name) != 4)
			continue;
		if (prefix || !(flags & RTF_ADDRCONF) || !strcmp(name, done))
			continue;
		snprintf(done, sizeof(done), "%s", name);
		for (char *dot = name; (dot = strchr(dot, '.'));)
			*dot = '/';
		snprintf(key, sizeof(key), "net.ipv6.conf.%s.accept_ra", name);
		if (read_value(key, now, sizeof(now)) == 0 && !strcmp(now, "1"))
			r = set(s, file, key, "2", err);
	}
	return r;
}

/*
 * What a terminal takes of the host at most, in no control group: two n_tty_data of 12 KiB, and buffers
 * (Linux 6.18: 53 KiB). All together are to have an eighth of its memory, and no more than the kernel's
 * largest (NR_UNIX98_PTY_MAX).
 */
#define TERMINAL_BYTES (56 * 1024)
#define TERMINALS_MAX  1048576

static void terminals(char *ret, size_t cap)
{
	struct sysinfo info;
	uint64_t n = 0;

	if (sysinfo(&info) == 0)
		n = (uint64_t)info.totalram * info.mem_unit / 8 / TERMINAL_BYTES;
	snprintf(ret, cap, "%" PRIu64, n < TERMINALS_MAX ? n : TERMINALS_MAX);
}

/*
 * Numbers of which the kernel has one for the whole host and no share for each guest: at their
 * defaults one guest could take all terminals, so that nobody else could log in or start, or all
 * slots of asynchronous I/O, which databases need. Raised, a guest's memory limit is reached first.
 * And whoever sends to a thousand addresses of the host's own network would have it look for as many
 * neighbours, and know none of its own any more (RFC 6583).
 */
static int raise_shared(struct setup *s, struct buf *file, struct err *err)
{
	char ptys[24];
	const struct {
		const char *key, *value;
	} shared[] = {
		{ "kernel.pty.max", ptys },
		{ "fs.aio-max-nr", "1073741824" },
		{ "net.ipv4.neigh.default.gc_thresh3", "65536" },
		{ "net.ipv4.neigh.default.gc_thresh2", "32768" },
		{ "net.ipv6.neigh.default.gc_thresh3", "65536" },
		{ "net.ipv6.neigh.default.gc_thresh2", "32768" },
	};
	int r = 0;

	terminals(ptys, sizeof(ptys));
	for (size_t i = 0; r == 0 && i < sizeof(shared) / sizeof(shared[0]); i++) {
		char now[64];
		uint64_t have, want;

		if (read_value(shared[i].key, now, sizeof(now)) == 0 &&
		    parse_u64(now, UINT64_MAX, &have) == 0 &&
		    parse_u64(shared[i].value, UINT64_MAX, &want) == 0 && have < want)
			r = set(s, file, shared[i].key, shared[i].value, err);
	}
	return r;
}

static int forwarding_on(void)
{
	char v4[16] = "", v6[16] = "";
	bool has6 = read_value("net.ipv6.conf.all.forwarding", v6, sizeof(v6)) == 0;

	return read_value("net.ipv4.ip_forward", v4, sizeof(v4)) == 0 && !strcmp(v4, "1") &&
	       (!has6 || !strcmp(v6, "1"));
}

/* The file is there but the kernel was set otherwise: bring back what the file says. */
static int apply_file(struct setup *s, struct err *err)
{
	int r = write_value("net.ipv4.ip_forward", "1", err);

	if (r == 0 && access("/proc/sys/net/ipv6/conf/all/forwarding", F_OK) == 0)
		r = write_value("net.ipv6.conf.all.forwarding", "1", err);
	if (r == 0)
		setup_note(s, "turned forwarding on again, as %s says", FILE_PATH);
	return r;
}

int setup_forwarding_up(struct setup *s, struct err *err)
{
	CLEANUP_BUF struct buf file = { 0 };
	CLEANUP_CLOSE int dir = -1;
	int r;

	if (access(FILE_PATH, F_OK) == 0)
		return forwarding_on() ? 0 : apply_file(s, err);
	buf_puts(&file, "# Guests reach the world through the host: vm2 host setup wrote this.\n");
	r = keep_router(s, &file, err);
	if (r == 0)
		r = set(s, &file, "net.ipv4.ip_forward", "1", err);
	if (r == 0)
		r = set(s, &file, "net.ipv6.conf.all.forwarding", "1", err);
	if (r == 0)
		r = raise_shared(s, &file, err);
	if (r != 0)
		return r;
	if (access(FOLDER, F_OK) < 0)
		buf_puts(&file, NO_FOLDER "\n");
	r = fd_mkdirs(FOLDER, 0755);
	dir = r < 0 ? -1 : open(FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0)
		r = dir < 0 ? -errno : fd_replace_file(dir, "60-vm2.conf", file.data, file.len, 0644, 1);
	if (r < 0)
		return err_sys(err, -r, "cannot write %s", FILE_PATH);
	setup_note(s, "wrote %s", FILE_PATH);
	return 0;
}

/* What was before stands in the file's comments. An interface may be gone by now. */
static void restore_line(struct setup *s, char *line)
{
	char *equals, now[64];

	if (!str_starts(line, BEFORE) || !(equals = strstr(line, " = ")))
		return;
	*equals = '\0';
	line += strlen(BEFORE);
	if (read_value(line, now, sizeof(now)) == 0 && strcmp(now, equals + 3) &&
	    write_value(line, equals + 3, NULL) == 0)
		setup_note(s, "set %s = %s again", line, equals + 3);
}

int setup_forwarding_down(struct setup *s, struct err *err)
{
	CLEANUP_FREE char *text = xcalloc(1, FILE_MAX);
	ssize_t len = fd_read_path(AT_FDCWD, FILE_PATH, text, FILE_MAX);
	bool made_folder = strstr(text, NO_FOLDER "\n");
	char *rest = text, *line;

	if (len == -ENOENT)
		return 0;
	if (len < 0)
		return err_sys(err, (int)-len, "cannot read %s", FILE_PATH);
	while ((line = strsep(&rest, "\n")))
		restore_line(s, line);
	if (unlink(FILE_PATH) < 0)
		return err_sys(err, errno, "cannot remove %s", FILE_PATH);
	setup_note(s, "removed %s", FILE_PATH);
	if (made_folder && rmdir(FOLDER) == 0)
		setup_note(s, "removed %s", FOLDER);
	return 0;
}
