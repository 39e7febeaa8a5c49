/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm2d: the one program that knows tenants and may change them. Foreground; logs to stderr. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "build.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/base/pool.h"
#include "provision/daemon/recover.h"
#include "provision/daemon/server.h"

/* Workers of a vm2d that was killed let go of the lock when they have begun: a moment. */
#define LOCK_TRIES 10

static int usage(FILE *out)
{
	fprintf(out,
		"usage: vm2d [--config FILE]\n"
		"Serves VM2's local socket in the foreground, see vm2d(8).\n");
	return out == stdout ? 0 : ERR_USAGE;
}

/* *ret_path stays NULL when none is given. -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, char **ret_path)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout);
		if (c == 'V')
			return printf("vm2d %s\n", VM2_VERSION) < 0;
		if (c != 'c')
			return usage(stderr);
		free(*ret_path);
		*ret_path = realpath(optarg, NULL); /* workers run in "/" */
		if (!*ret_path) {
			log_err("cannot find the configuration %s: %s", optarg, strerror(errno));
			return ERR_USAGE;
		}
	}
	return optind == argc ? -1 : usage(stderr);
}

/* One vm2d for a state directory: the lock lives as long as this process, not its children. */
static int take_instance(const struct config *config, int *ret, struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("%s/lock", config->state);
	CLEANUP_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct timespec pause = { .tv_nsec = 50000000 };
	int tries = 0;

	if (fd < 0)
		return err_sys(err, errno, "cannot open %s", path);
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_sys(err, errno, "cannot lock %s", path);
		if (++tries == LOCK_TRIES)
			return err_set(err, ERR_BUSY,
				"another vm2d runs on %s: stop that one, or give this one another "
				"paths.state",
				config->state);
		nanosleep(&pause, NULL);
	}
	*ret = steal_fd(&fd);
	return 0;
}

static void load_access(struct host *host)
{
	const struct config *c = host->config;

	access_load(c, &host->access);
	if (!host->access.has_gateway)
		log_notice("there is no user '%s': nobody may ask as the gateway", c->gateway_user);
	if (!host->access.has_staff)
		log_notice("there is no group '%s': only root is staff", c->staff_group);
	if (!host->access.has_audit)
		log_notice("there is no group '%s': only root is auditor", c->audit_group);
}

/* The database is made or brought up to date here, before anybody is let in; then closed again. */
static int prepare_store(const struct config *config, struct err *err)
{
	struct store *store = NULL;
	int r = store_open(config->database, &store, err);

	store_close(store);
	return r;
}

static int mount_pool(const struct config *config, struct err *err)
{
	int r = pool_mount(config, err);

	if (r == 1)
		log_info("mounted the guests' pool at %s", config->guests);
	return r == 1 ? 0 : r;
}

static int run(struct host *host, struct err *err)
{
	CLEANUP_CLOSE int lock = -1, listener = -1;
	int r = recover_folders(host->config, err);

	if (r == 0)
		r = take_instance(host->config, &lock, err);
	if (r == 0)
		r = mount_pool(host->config, err);
	if (r == 0)
		r = prepare_store(host->config, err);
	if (r == 0)
		r = server_listen(host->config, &listener, err);
	if (r != 0)
		return r;
	load_access(host);
	return server_run(host, listener, err);
}

int main(int argc, char **argv)
{
	CLEANUP_CONFIG const struct config *config = NULL;
	CLEANUP_FREE char *path = NULL;
	struct host host = { .started_ms = clock_ms() };
	struct err err = { 0 };
	int r = parse_options(argc, argv, &path);

	if (r >= 0)
		return r;
	umask(022);
	signal(SIGPIPE, SIG_IGN);
	if (geteuid() != 0)
		r = err_set(&err, ERR_DENIED, "this takes root");
	else if (chdir("/") < 0)
		r = err_sys(&err, errno, "cannot go to /");
	else
		r = config_load(path, &config, &err);
	host.config = config;
	host.config_path = path;
	if (r == 0)
		r = run(&host, &err);
	if (r != 0)
		log_err("%s", err.text);
	return err_exit_status(r);
}
