/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An ordinary program of the host that looks accounts up through libc, for test_names:
 *
 *   nss-program get NAME           its uid on stdout, or "unknown"
 *   nss-program sizes NAME         by buffers of every size from none: ERANGE until one fits
 *   nss-program threads NAME N     by N threads, each of which forks at times
 *   nss-program walk NAME N        through all accounts, N times; each time NAME is there once
 *   nss-program chroot DIR NAME    before and after chroot(2): both results
 *
 * Exits 0, or says what was wrong and exits 1.
 */
#include <err.h>
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <shadow.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What each thread is given: no variable is shared but this, which nobody changes. */
struct task {
	const char *name;
	uid_t uid;
};

static uid_t uid_of(const char *name)
{
	struct passwd pw, *found = NULL;
	char buf[1024];
	int e = getpwnam_r(name, &pw, buf, sizeof(buf), &found);

	if (!found)
		errx(1, "%s: %s", name, e ? strerror(e) : "unknown");
	return pw.pw_uid;
}

static int get(char **argv)
{
	struct passwd *pw = getpwnam(argv[0]);

	if (pw)
		printf("%u\n", pw->pw_uid);
	else
		puts("unknown");
	return 0;
}

/* Of one kind of entry: how many sizes were too small before the first that fitted. */
static size_t too_small(const char *name, int kind)
{
	for (size_t len = 0; len < 1024; len++) {
		/* Of exactly this size, so that valgrind sees a byte past it. */
		char *buf = malloc(len);
		struct passwd pw, *p = NULL;
		struct group gr, *g = NULL;
		struct spwd sp, *s = NULL;
		int e;

		e = kind == 0 ? getpwnam_r(name, &pw, buf, len, &p) :
		    kind == 1 ? getgrnam_r(name, &gr, buf, len, &g) :
				getspnam_r(name, &sp, buf, len, &s);
		if ((p && strcmp(pw.pw_name, name)) || (g && strcmp(gr.gr_name, name)) ||
		    (s && strcmp(sp.sp_namp, name)))
			errx(1, "%zu bytes: another name", len);
		free(buf);
		if (p || g || s)
			return len;
		if (e != ERANGE)
			errx(1, "%zu bytes: %s", len, e ? strerror(e) : "unknown");
	}
	errx(1, "no size fits");
}

static int sizes(char **argv)
{
	for (int kind = 0; kind < (geteuid() == 0 ? 3 : 2); kind++)
		if (too_small(argv[0], kind) < strlen(argv[0]) + 1)
			errx(1, "fits in less than the name");
	return 0;
}

static void look(const struct task *t)
{
	struct passwd pw, *p = NULL;
	struct group gr, *g = NULL;
	char buf[1024], other[1024];

	if (getpwuid_r(t->uid, &pw, buf, sizeof(buf), &p) != 0 || !p || strcmp(pw.pw_name, t->name))
		errx(1, "%u is not %s", t->uid, t->name);
	if (getgrnam_r(t->name, &gr, other, sizeof(other), &g) != 0 || !g || gr.gr_gid != t->uid)
		errx(1, "%s has another gid", t->name);
	if (getpwnam_r("nobody-has-this", &pw, buf, sizeof(buf), &p) != 0 || p)
		errx(1, "somebody has what nobody has");
}

static void *run(void *arg)
{
	const struct task *t = arg;
	int status;
	pid_t pid;

	for (int i = 0; i < 500; i++) {
		look(t);
		if (i % 50 != 0)
			continue;
		pid = fork();
		if (pid == 0) {
			look(t);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status != 0)
			errx(1, "a child ended with %x", status);
	}
	return NULL;
}

static int threads(char **argv)
{
	struct task t = { argv[0], uid_of(argv[0]) };
	int n = atoi(argv[1]);
	pthread_t *ids = calloc((size_t)n, sizeof(*ids));

	for (int i = 0; i < n; i++)
		if (pthread_create(&ids[i], NULL, run, &t) != 0)
			errx(1, "no thread");
	for (int i = 0; i < n; i++)
		pthread_join(ids[i], NULL);
	free(ids);
	return 0;
}

static int walk(char **argv)
{
	for (int i = atoi(argv[1]); i > 0; i--) {
		struct passwd *pw;
		int seen = 0;

		setpwent();
		while ((pw = getpwent()))
			seen += !strcmp(pw->pw_name, argv[0]);
		endpwent();
		if (seen != 1)
			errx(1, "%s was there %d times", argv[0], seen);
	}
	return 0;
}

static int change_root(char **argv)
{
	/* For so long the module does not look whether its file is still the same (docs/SNAPSHOT). */
	struct timespec trust = { .tv_nsec = 100000 };

	get(argv + 1);
	if (chroot(argv[0]) < 0 || chdir("/") < 0)
		err(1, "%s", argv[0]);
	nanosleep(&trust, NULL);
	return get(argv + 1);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args;
		int (*run)(char **argv);
	} verbs[] = {
		{ "get", 1, get },   { "sizes", 1, sizes },	   { "threads", 2, threads },
		{ "walk", 2, walk }, { "chroot", 2, change_root },
	};

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (argc > 1 && !strcmp(argv[1], verbs[i].name) && argc == verbs[i].args + 2)
			return verbs[i].run(argv + 2);
	errx(2, "see nss_program.c");
}
