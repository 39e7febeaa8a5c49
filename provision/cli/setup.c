/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/setup.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

struct step {
	const char *name;
	int (*up)(struct setup *s, struct err *err);
	int (*down)(struct setup *s, struct err *err);
};

/* The accounts come first: folders and keys belong to them. The folders hold the keys. */
static const struct step steps[] = {
	{ "accounts", setup_accounts_up, setup_accounts_down },
	{ "configuration", setup_config_up, setup_config_down },
	{ "folders", setup_folders_up, setup_folders_down },
	{ "pool", setup_pool_up, setup_pool_down },
	{ "host keys", setup_keys_up, NULL },
	{ "PAM", setup_pam_up, setup_pam_down },
	{ "names", setup_names_up, setup_names_down },
	{ "doors", setup_doors_up, setup_doors_down },
	{ "AppArmor", setup_apparmor_up, setup_apparmor_down },
	{ "forwarding", setup_forwarding_up, setup_forwarding_down },
};

int setup_up(struct setup *s, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		int r = steps[i].up(s, err);

		if (r != 0) {
			err_wrap(err, "host setup, %s", steps[i].name);
			return r;
		}
	}
	return 0;
}

int setup_down(struct setup *s, struct err *err)
{
	for (size_t i = ARRAY_LEN(steps); i-- > 0;) {
		int r = steps[i].down ? steps[i].down(s, err) : 0;

		if (r != 0) {
			err_wrap(err, "host setup --remove, %s", steps[i].name);
			return r;
		}
	}
	return 0;
}

void setup_note(struct setup *s, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	buf_puts(&s->changes, s->n_changes++ ? ", " : "");
	buf_json(&s->changes, line);
	command_say(s->cli, "%s", line);
}

/* The last line that is not blank. */
static const char *last_line(char *text)
{
	size_t len = strlen(text);
	char *start;

	while (len && strchr(" \n\r", text[len - 1]))
		text[--len] = '\0';
	start = strrchr(text, '\n');
	return start ? start + 1 : text;
}

static int spawn(const char *program, char **argv, int output, pid_t *ret)
{
	char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", locale[] = "LC_ALL=C.UTF-8";
	char *environment[] = { path, locale, NULL };
	posix_spawn_file_actions_t actions;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, output, 1);
	posix_spawn_file_actions_adddup2(&actions, output, 2);
	r = posix_spawn(ret, program, &actions, NULL, argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

static int wait_for(pid_t pid, int *ret_status)
{
	while (waitpid(pid, ret_status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int setup_run(struct err *err, const char *program, ...)
{
	char *argv[16] = { (char *)(uintptr_t)program }, said[4096] = "";
	CLEANUP_CLOSE int output = memfd_create("output", MFD_CLOEXEC);
	int n = 1, status = 0, r;
	va_list ap;
	pid_t pid;

	va_start(ap, program);
	while (n < 15 && (argv[n] = va_arg(ap, char *)))
		n++;
	va_end(ap);
	argv[n] = NULL;
	r = output < 0 ? errno : spawn(program, argv, output, &pid);
	if (r != 0)
		return err_sys(err, r, "cannot run %s", program);
	r = wait_for(pid, &status);
	if (r == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (pread(output, said, sizeof(said) - 1, 0) < 0)
		said[0] = '\0';
	return err_set(err, ERR_FAILED, "%s failed: %s", program,
		       said[0] ? last_line(said) : "it does not say why");
}
