/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What makes a fresh tree this guest's. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"
#include "provision/guest/storage.h"

/* resolv.conf(5), MAXNS */
#define RESOLVERS_MAX 3
#define RESOLV_CONF_MAX 16384

/* What begins so is ours; who takes it away has the file for their own. */
#define MARK "# Kept by VM2 at each start of this system. Without this line it is left alone.\n"

/* What makes a tree one guest's. */
static const char *const personal[] = { "hostname", "hosts", "resolv.conf", "machine-id" };

/* how: O_EXCL in a folder that the guest could see, O_TRUNC where layers_make() has made it. */
static int put(int etc, const char *name, int how, mode_t mode, const char *text, struct err *err)
{
	CLEANUP_CLOSE int fd =
		openat(etc, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | how, 0600);
	int r;

	if (fd < 0)
		return err_sys(err, errno, "cannot make the guest's /etc/%s", name);
	r = fd_write_all(fd, text, strlen(text));
	if (r >= 0 && fchmod(fd, mode) < 0)
		r = -errno;
	return r < 0 ? err_sys(err, -r, "cannot write the guest's /etc/%s", name) : 0;
}

/* An address that a guest can ask: parses, and is no loopback address (those are the host's). */
static bool resolver_serves(const char *text)
{
	struct in6_addr a6;
	struct in_addr a4;

	if (inet_pton(AF_INET, text, &a4) == 1)
		return (ntohl(a4.s_addr) >> 24) != 127 && a4.s_addr != 0;
	return inet_pton(AF_INET6, text, &a6) == 1 && !IN6_IS_ADDR_LOOPBACK(&a6) &&
	       !IN6_IS_ADDR_UNSPECIFIED(&a6) && !IN6_IS_ADDR_LINKLOCAL(&a6);
}

static int add_host_resolvers(const char *path, struct buf *out)
{
	char text[RESOLV_CONF_MAX], *save = NULL, address[64];
	int found = 0;

	if (fd_read_path(AT_FDCWD, path, text, sizeof(text)) < 0)
		return 0;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, " nameserver %63s", address) == 1 && found < RESOLVERS_MAX &&
		    resolver_serves(address)) {
			buf_printf(out, "nameserver %s\n", address);
			found++;
		}
	}
	return found;
}

static void add_resolvers(const char *dns, struct buf *out)
{
	CLEANUP_FREE char *list = xstrdup(dns);
	char *save = NULL;

	if (strcmp(dns, "auto") == 0) {
		/* The second is where systemd-resolved says what is behind its stub. */
		if (!add_host_resolvers("/etc/resolv.conf", out))
			add_host_resolvers("/run/systemd/resolve/resolv.conf", out);
		return;
	}
	for (char *a = strtok_r(list, " ,\t", &save); a; a = strtok_r(NULL, " ,\t", &save))
		buf_printf(out, "nameserver %s\n", a);
}

static void add_words(struct buf *b, const char *before, const char *words, const char *after)
{
	CLEANUP_FREE char *list = xstrdup(words);
	char *save = NULL;

	for (char *w = strtok_r(list, " ", &save); w; w = strtok_r(NULL, " ", &save))
		buf_printf(b, "%s%s%s", before, w, after);
}

static void write_hosts(const struct guest_spec *spec, struct buf *b)
{
	CLEANUP_FREE char *name = xasprintf("\t%s\n", spec->name);

	buf_puts(b, MARK "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
	add_words(b, "", spec->address4 ?: "", name);
	add_words(b, "", spec->address6 ?: "", name);
	add_words(b, "", spec->more ?: "", name);
}

static void write_resolv(const struct config *config, const struct guest_spec *spec, struct buf *b)
{
	bool own = spec->nameservers && *spec->nameservers;

	buf_puts(b, MARK);
	add_resolvers(own ? spec->nameservers : config->dns, b);
	if (spec->search && *spec->search)
		buf_printf(b, "search %s\n", spec->search);
}

/* Whether the file is still ours, and another than it is to be. */
static bool lags(int etc, const char *name, const char *text)
{
	CLEANUP_CLOSE int fd = openat(etc, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char old[RESOLV_CONF_MAX];
	struct stat st;
	ssize_t n;

	/* Safe: it is the guest's to make, so only a plain file is read, and no further than this. */
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size >= RESOLV_CONF_MAX)
		return false;
	n = pread(fd, old, sizeof(old) - 1, 0);
	if (n < 0)
		return false;
	old[n] = '\0';
	return str_starts(old, MARK) && strcmp(old, text) != 0;
}

/* Renewed by rename(2): a guest that starts meanwhile, or a kill, sees one or the other. */
static void renew(int etc, const char *name, const char *text)
{
	CLEANUP_FREE char *new = xasprintf(".%s.vm2", name);

	if (!lags(etc, name, text))
		return;
	/* Of a start that was killed; a folder of the guest's of that name stays, and put() is refused. */
	unlinkat(etc, new, 0);
	if (put(etc, new, O_EXCL, 0644, text, NULL) != 0 || renameat(etc, new, etc, name) < 0)
		unlinkat(etc, new, 0);
}

static void renew_both(int etc, const struct files_text *text)
{
	renew(etc, "hosts", text->hosts.data);
	renew(etc, "resolv.conf", text->resolv.data);
}

void files_text(const struct config *config, const struct guest_spec *spec, struct files_text *ret)
{
	*ret = (struct files_text){ 0 };
	write_hosts(spec, &ret->hosts);
	write_resolv(config, spec, &ret->resolv);
}

void files_text_free(struct files_text *text)
{
	buf_free(&text->hosts);
	buf_free(&text->resolv);
}

/* On the host: the guest's own /etc, no part of the way a link; -1 when it has none. */
static int open_etc(const struct config *config, const struct guest_spec *spec)
{
	int folders[STORAGE_FOLDERS];
	int n = storage_of(spec)->folders(config, spec, folders, NULL);
	CLEANUP_CLOSE int etc = -1;

	if (n > 0)
		etc = openat(folders[0], "etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	for (int i = 0; i < n; i++)
		fd_close(folders[i]);
	return steal_fd(&etc);
}

void files_follow(const struct config *config, const struct guest_spec *spec)
{
	CLEANUP_CLOSE int etc = open_etc(config, spec);
	CLEANUP_TEXT struct files_text text;

	files_text(config, spec, &text);
	if (etc >= 0)
		renew_both(etc, &text);
}

bool files_lag(const struct config *config, const struct guest_spec *spec, const struct files_text *text)
{
	CLEANUP_CLOSE int etc = open_etc(config, spec);

	return etc >= 0 && (lags(etc, "hosts", text->hosts.data) ||
			    lags(etc, "resolv.conf", text->resolv.data));
}

void files_follow_inside(const struct files_text *text)
{
	CLEANUP_CLOSE int etc = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (etc >= 0)
		renew_both(etc, text);
}

int files_make_blank(int etc)
{
	for (size_t i = 0; i < ARRAY_LEN(personal); i++) {
		int fd = openat(etc, personal[i], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

		if (fd < 0)
			return -errno;
		close(fd);
	}
	return 0;
}

static int personalise(const struct config *config, const struct guest_spec *spec, int etc, int how,
		       struct err *err)
{
	CLEANUP_BUF struct buf hostname = { 0 }, hosts = { 0 }, resolv = { 0 };
	int r;

	buf_printf(&hostname, "%s\n", spec->name);
	write_hosts(spec, &hosts);
	write_resolv(config, spec, &resolv);
	r = put(etc, "hostname", how, 0644, hostname.data, err);
	if (r == 0)
		r = put(etc, "hosts", how, 0644, hosts.data, err);
	if (r == 0)
		r = put(etc, "resolv.conf", how, 0644, resolv.data, err);
	/* Empty: the guest's init fills it at its first boot (machine-id(5)). */
	return r ? r : put(etc, "machine-id", how, 0444, "", err);
}

int files_personalise(const struct config *config, const struct guest_spec *spec, int etc,
		      struct err *err)
{
	return personalise(config, spec, etc, O_TRUNC, err);
}

int files_personalise_again(const struct config *config, const struct guest_spec *spec,
			    const char *root, struct err *err)
{
	CLEANUP_CLOSE int top = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	CLEANUP_CLOSE int etc = -1;
	int r = 0;

	if (top < 0)
		return err_sys(err, errno, "cannot open %s", root);
	if (mkdirat(top, "etc", 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot make the guest's /etc");
	etc = openat(top, "etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (etc < 0)
		return err_sys(err, errno, "the guest's /etc is no folder");
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(personal); i++)
		r = fd_remove_tree(etc, personal[i]);
	if (r < 0)
		return err_sys(err, -r, "cannot renew the guest's /etc");
	return personalise(config, spec, etc, O_EXCL, err);
}

/* --- what guests of a template must not share --- */

/* A folder of the tree; no part of the way is a link. */
static int open_in(int tree, const char *path)
{
	CLEANUP_FREE char *copy = xstrdup(path);
	char *rest = copy, *name;
	int fd = dup(tree), next;

	while (fd >= 0 && (name = strsep(&rest, "/"))) {
		next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		fd_close(fd);
		fd = next;
	}
	return fd;
}

/* Remove what begins so from a folder, whose times stay: the same tree has the same digest. */
static int forget(int tree, const char *folder, const char *prefix)
{
	CLEANUP_CLOSE int fd = open_in(tree, folder);
	CLEANUP_CLOSEDIR DIR *dir = fd < 0 ? NULL : fdopendir(dup(fd));
	struct timespec times[2];
	struct dirent *e;
	struct stat st;
	int r = 0;

	if (!dir || fstat(fd, &st) < 0)
		return 0;
	while (r == 0 && (e = readdir(dir)))
		if (str_starts(e->d_name, prefix))
			r = fd_remove_tree(fd, e->d_name);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	return r == 0 && futimens(fd, times) < 0 ? -errno : r;
}

int files_forget_identity(const char *tree)
{
	CLEANUP_CLOSE int top = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int r = top < 0 ? -errno : forget(top, "etc/ssh", "ssh_host_");

	return r == 0 ? forget(top, "var/lib/dbus", "machine-id") : r;
}

#define KEYGEN "/usr/bin/ssh-keygen"

static void __attribute__((noreturn)) become_keygen(int folder, const char *type, const char *name)
{
	CLEANUP_FREE char *file = xasprintf("ssh_host_%s_key", type);
	CLEANUP_FREE char *comment = xasprintf("root@%s", name);
	char *environment[] = { NULL };
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fchdir(folder) < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		_exit(127);
	fd_close_from(3);
	execle(KEYGEN, KEYGEN, "-q", "-t", type, "-N", "", "-C", comment, "-f", file, (char *)NULL,
	       environment);
	_exit(127);
}

static int make_key(const struct guest_spec *spec, int folder, const char *type, struct err *err)
{
	int status = 1;
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(err, errno, "cannot fork");
	if (pid == 0)
		become_keygen(folder, type, spec->name);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return status == 0 ? 0 : err_set(err, ERR_FAILED, "cannot make the guest's SSH host key (%s)",
					 type);
}

int files_host_keys(const struct guest_spec *spec, int template, int etc, struct err *err)
{
	static const char *const types[] = { "ed25519", "ecdsa" };
	CLEANUP_CLOSE int ssh = -1;
	struct stat st;
	int r = 0;

	if (fstatat(template, "usr/sbin/sshd", &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fstatat(template, "etc/ssh", &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode) ||
	    access(KEYGEN, X_OK) < 0)
		return 0;
	if (mkdirat(etc, "ssh", 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot make the guest's /etc/ssh");
	ssh = openat(etc, "ssh", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (ssh < 0 || fchmod(ssh, st.st_mode & 07777) < 0)
		return err_sys(err, errno, "cannot open the guest's /etc/ssh");
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(types); i++) {
		CLEANUP_FREE char *file = xasprintf("ssh_host_%s_key", types[i]);

		/* One of the template's would be asked about. */
		unlinkat(ssh, file, 0);
		r = make_key(spec, ssh, types[i], err);
	}
	return r;
}
