/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was set up on this host. */
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "build.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/cli/check.h"
#include "provision/cli/nsswitch.h"

#define ANSWER_MS 2000

static void accounts(const struct config *config, struct finding *f)
{
	const char *lacking = !getpwnam(config->gateway_user) ? config->gateway_user :
			      !getgrnam(config->staff_group)  ? config->staff_group :
			      !getgrnam(config->audit_group)  ? config->audit_group :
								NULL;

	if (lacking)
		found(f, CHECK_MISSING, "there is no %.60s", lacking);
	else
		found(f, CHECK_OK, "%.40s, %.40s, %.40s", config->gateway_user, config->staff_group,
		      config->audit_group);
}

static void state(const struct config *config, struct finding *f)
{
	const char *folders[] = { config->state,  config->templates, config->guests, config->sessions,
				  config->ledger, config->hostkeys,  config->run };

	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		struct stat st;

		if (stat(folders[i], &st) < 0 && errno == EACCES) {
			found(f, CHECK_UNKNOWN, "%.100s: takes root to see", folders[i]);
			return;
		}
		if (stat(folders[i], &st) < 0 || !S_ISDIR(st.st_mode)) {
			found(f, CHECK_MISSING, "there is no folder %.100s", folders[i]);
			return;
		}
	}
	found(f, CHECK_OK, "%.120s", config->state);
}

static void host_keys(const struct config *config, struct finding *f)
{
	CLEANUP_FREE char *path = xasprintf("%s/ssh_host_ed25519_key", config->hostkeys);

	if (access(path, F_OK) == 0)
		found(f, CHECK_OK, "%.120s", config->hostkeys);
	else if (errno == EACCES)
		found(f, CHECK_UNKNOWN, "%.120s: takes root to see", config->hostkeys);
	else
		found(f, CHECK_MISSING, "there is no %.120s", path);
}

static void pam_file(const struct config *config, struct finding *f)
{
	const char *path = VM2_SYSCONFDIR "/pam.d/vm2-gateway";

	found(f, access(path, R_OK) == 0 ? CHECK_OK : CHECK_MISSING, "%s", path);
}

static void pam_module(const struct config *config, struct finding *f)
{
	const char *path = VM2_LIBDIR "/security/pam_vm2.so";

	found(f, access(path, R_OK) == 0 ? CHECK_OK : CHECK_MISSING, "%s", path);
}

static void nss_module(const struct config *config, struct finding *f)
{
	void *module = dlopen("libnss_vm2.so.2", RTLD_LAZY | RTLD_LOCAL);

	if (module)
		found(f, CHECK_OK, "libnss_vm2.so.2");
	else
		found(f, CHECK_MISSING, "%.150s", dlerror());
	if (module)
		dlclose(module);
}

static void names(const struct config *config, struct finding *f)
{
	char text[16384] = "";
	CLEANUP_BUF struct buf out = { 0 };

	if (fd_read_path(AT_FDCWD, VM2_SYSCONFDIR "/nsswitch.conf", text, sizeof(text)) < 0)
		found(f, CHECK_MISSING, "cannot read %s", VM2_SYSCONFDIR "/nsswitch.conf");
	else
		found(f, nsswitch_add(text, &out) ? CHECK_MISSING : CHECK_OK,
		      "vm2 in passwd, group and shadow of nsswitch.conf");
}

/* Each PAM file of a program that would run something as a tenant, where there is such a program. */
static void doors(const struct config *config, struct finding *f)
{
	static const char *const services[] = { "su", "login", "cron", "atd" };

	found(f, CHECK_OK, "su, login, cron and at know tenants");
	for (size_t i = 0; i < ARRAY_LEN(services); i++) {
		CLEANUP_FREE char *path = xasprintf(VM2_SYSCONFDIR "/pam.d/%s", services[i]);
		char text[16384] = "";

		if (fd_read_path(AT_FDCWD, path, text, sizeof(text)) >= 0 &&
		    !strstr(text, "@include vm2-doors\n")) {
			found(f, CHECK_MISSING, "%s has no line '@include vm2-doors'", path);
			return;
		}
	}
}

static bool is_on(const char *path)
{
	char text[16] = "";

	return fd_read_path(AT_FDCWD, path, text, sizeof(text)) > 0 && text[0] != '0';
}

static void forwarding(const struct config *config, struct finding *f)
{
	bool v6 = access("/proc/sys/net/ipv6/conf/all/forwarding", F_OK) < 0 ||
		  is_on("/proc/sys/net/ipv6/conf/all/forwarding");

	found(f, is_on("/proc/sys/net/ipv4/ip_forward") && v6 ? CHECK_OK : CHECK_MISSING,
	      "forwarding of IPv4 and IPv6");
}

/* --- what runs --- */

static void ask(const struct config *config, const char *op,
		void (*row)(void *data, const struct msg *row), void *data, struct finding *f)
{
	CLEANUP_MSG struct msg request = { 0 };
	struct client_sink sink = { row, NULL, data };
	struct err err = { 0 };
	int r;

	msg_add(&request, "op", op);
	r = client_call(config->socket, &request, ANSWER_MS, &sink, NULL, &err);
	if (r == 0 && f->state == CHECK_UNKNOWN)
		f->state = CHECK_OK;
	else if (r != 0)
		found(f, r == ERR_DENIED ? CHECK_UNKNOWN : CHECK_MISSING, "%.150s", err.text);
}

static void note_version(void *data, const struct msg *row)
{
	const char *version = msg_get(row, "version");

	found(data, CHECK_OK, "version %.40s", version ? version : "unknown");
}

static void daemon_answers(const struct config *config, struct finding *f)
{
	found(f, CHECK_OK, "answers");
	ask(config, "host.status", note_version, f, f);
}

static void note_template(void *data, const struct msg *row)
{
	struct finding *f = data;
	const char *name = msg_get(row, "name");
	size_t len = strlen(f->text);

	snprintf(f->text + len, sizeof(f->text) - len, "%s%.40s", len ? ", " : "", name ? name : "?");
}

static void templates(const struct config *config, struct finding *f)
{
	ask(config, "template.list", note_template, f, f);
	if (f->state == CHECK_OK && !f->text[0])
		found(f, CHECK_MISSING, "there is no template");
}

/* "0.0.0.0:2222" or "[::]:2222": where to knock. */
static int connect_to(const char *address)
{
	char host[64] = "";
	const char *port = strrchr(address, ':');
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				  .ai_socktype = SOCK_STREAM },
			*info;
	struct timeval limit = { ANSWER_MS / 1000, 0 };
	size_t len = port ? (size_t)(port - address) : 0;
	int fd;

	if (!port || len >= sizeof(host))
		return -1;
	memcpy(host, address, len);
	if (host[0] == '[' && host[len - 1] == ']') {
		memmove(host, host + 1, len - 2);
		host[len - 2] = '\0';
	}
	/* Who listens everywhere listens on the loopback. */
	if (getaddrinfo(!strcmp(host, "0.0.0.0") ? "127.0.0.1" : !strcmp(host, "::") ? "::1" : host,
			port + 1, &hints, &info) != 0)
		return -1;
	fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		if (connect(fd, info->ai_addr, info->ai_addrlen) < 0)
			fd = fd_close(fd);
	}
	freeaddrinfo(info);
	return fd;
}

static void gateway(const struct config *config, struct finding *f)
{
	CLEANUP_FREE char *copy = xstrdup(config->listen);
	char *rest = copy, *address;

	while ((address = strsep(&rest, " "))) {
		CLEANUP_CLOSE int fd = *address ? connect_to(address) : -1;
		char banner[64] = "";

		if (fd < 0 || recv(fd, banner, sizeof(banner) - 1, 0) < 4)
			continue;
		if (strncmp(banner, "SSH-", 4))
			found(f, CHECK_MISSING, "something else answers at %.60s", address);
		else
			found(f, CHECK_OK, "answers at %.60s", address);
		return;
	}
	found(f, CHECK_MISSING, "nothing answers at %.100s", config->listen);
}

/* Which driver serves, and why not the other. */
static void note_storage(void *data, const struct msg *row)
{
	struct finding *f = data;
	const char *driver = msg_get(row, "storage"), *lacks = msg_get(row, "storage_lacks");
	bool btrfs = driver && !strcmp(driver, "btrfs");
	const char *other = msg_get(row, btrfs ? "storage_overlay" : "storage_btrfs");

	if (!driver || lacks)
		found(f, CHECK_MISSING, "%.150s", lacks ? lacks : "vm2d does not say");
	else
		found(f, CHECK_OK, "%.20s; %s: %.120s", driver, btrfs ? "overlay" : "btrfs",
		      other ? other : "unknown");
}

static void storage(const struct config *config, struct finding *f)
{
	ask(config, "host.status", note_storage, f, f);
}

static void note_limit(void *data, const struct msg *row)
{
	const char *why = msg_get(row, "disk_unlimited");

	found(data, why ? CHECK_MISSING : CHECK_OK, "%.150s", why ? why : "a plan's disk is kept");
}

static void disk_limits(const struct config *config, struct finding *f)
{
	ask(config, "host.status", note_limit, f, f);
}

static void mmdebstrap(const struct config *config, struct finding *f)
{
	found(f, access("/usr/bin/mmdebstrap", X_OK) == 0 ? CHECK_OK : CHECK_MISSING, "mmdebstrap");
}

/* Read, not looked at: what a crashed one left is there and does not answer. */
static void lxcfs(const struct config *config, struct finding *f)
{
	CLEANUP_FREE char *path = xasprintf("%s/lxcfs/proc/meminfo", config->run);
	char text[16384];
	ssize_t n = fd_read_path(AT_FDCWD, path, text, sizeof(text));

	if (n > 0)
		found(f, CHECK_OK, "guests see their own memory and load in /proc");
	else if (n == -EACCES)
		found(f, CHECK_UNKNOWN, "%.80s: takes root to see", path);
	else
		found(f, CHECK_MISSING, "it does not run at %.80s: guests see this host's memory and load",
		      path);
}

#define SETUP "vm2 host setup"

const struct check check_setup[] = {
	{ "accounts", false, accounts, SETUP },
	{ "state", false, state, SETUP },
	{ "host-keys", false, host_keys, SETUP },
	{ "pam-service", false, pam_file, SETUP },
	{ "pam-module", false, pam_module, "install VM2 again" },
	{ "nss-module", false, nss_module, "install VM2 again; ldconfig" },
	{ "names", false, names, SETUP },
	{ "doors", false, doors, "/usr/libexec/vm2/doors open --local" },
	{ "forwarding", false, forwarding, SETUP },
	{ "vm2d", false, daemon_answers, "systemctl start vm2d, or see provision/quickstart" },
	{ "gateway", false, gateway, "systemctl start vm2-gateway, or see provision/quickstart" },
	{ "template", false, templates, "vm2 template build debian" },
	{ "storage", false, storage, "see guest.storage in vm2.conf(5)" },
	{ "disk-limits", true, disk_limits, "vm2 host setup --pool SIZE, before there are guests" },
	{ "mmdebstrap", true, mmdebstrap, "apt-get install mmdebstrap, to build templates" },
	{ "lxcfs", true, lxcfs, "apt-get install lxcfs; systemctl enable --now vm2-lxcfs" },
	{ 0 },
};
