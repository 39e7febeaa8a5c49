/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/passwd.h"
#include "provision/guest/storage.h"

/* Below the folder and nowhere else. */
static int open_below(int folder, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = O_CLOEXEC | O_NOFOLLOW | flags,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
					   RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };
	long fd = syscall(SYS_openat2, folder, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* Whether the folders below this one show through it, as overlayfs has it. */
static bool is_opaque(int folder)
{
	char value[4];

	return fgetxattr(folder, "user.overlay.opaque", value, sizeof(value)) >= 1;
}

/* A regular file's text; "" for anything else, which is not so much as opened: O_PATH opens nothing. */
static void read_node(int node, char *text, size_t size)
{
	char path[32];
	struct stat st;
	CLEANUP_CLOSE int file = -1;
	ssize_t n = -1;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", node);
	if (fstat(node, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < (off_t)size)
		file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file >= 0)
		n = fd_read_file(file, text, size);
	if (n < 0)
		text[0] = '\0';
}

/* In one of the folders. Whether it says what there is, be it nothing; else those below it do. */
static bool read_in(int folder, char *text, size_t size)
{
	CLEANUP_CLOSE int etc = open_below(folder, "etc", O_RDONLY | O_DIRECTORY);
	CLEANUP_CLOSE int node = etc < 0 ? -1 : open_below(etc, "passwd", O_PATH);

	text[0] = '\0';
	if (etc < 0)
		return etc != -ENOENT;
	if (node < 0)
		return node != -ENOENT || is_opaque(etc);
	read_node(node, text, size);
	return true;
}

void passwd_read(const struct config *config, const struct guest_spec *spec,
		 char ret[PASSWD_LIST_SIZE])
{
	CLEANUP_FREE char *text = xmalloc(PASSWD_FILE_MAX + 1);
	int folders[STORAGE_FOLDERS], n;
	bool found = false;
	struct err ignored = { 0 };

	ret[0] = text[0] = '\0';
	n = storage_of(spec)->folders(config, spec, folders, &ignored);
	for (int i = 0; i < n; i++) {
		found = found || read_in(folders[i], text, PASSWD_FILE_MAX + 1);
		fd_close(folders[i]);
	}
	passwd_list(text, ret);
}
