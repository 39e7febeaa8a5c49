/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What vm2d answers, as pam_vm2 reads it. libpam is played here. An input is a byte that says which
 * of the module's functions is called, and a row of messages, each with its length, two bytes, before
 * it; one of no length ends the answer to one question.
 */
#define CORPUS "pam"
#include "tests/fuzz/fuzz.h"

#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "provision/api/client.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

#define QUESTIONS_MAX 8

/* What is left of the input, and whether vm2d has said yes in it. */
static struct {
	const uint8_t *data;
	size_t size;
	bool yes;
	int questions;
} script;

/* --- libpam --- */

int pam_get_user(pam_handle_t *pamh, const char **ret, const char *prompt)
{
	*ret = "acme";
	return PAM_SUCCESS;
}

int pam_get_item(const pam_handle_t *pamh, int item, const void **ret)
{
	*ret = item == PAM_RHOST ? "192.0.2.7" : NULL;
	return PAM_SUCCESS;
}

int pam_get_authtok(pam_handle_t *pamh, int item, const char **ret, const char *prompt)
{
	*ret = item == PAM_OLDAUTHTOK ? "old" : "new";
	return PAM_SUCCESS;
}

int pam_prompt(pam_handle_t *pamh, int style, char **ret, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX * 4];
	va_list ap;

	va_start(ap, fmt);
	NEVER(vsnprintf(text, sizeof(text), fmt, ap) < 0);
	va_end(ap);
	if (ret)
		*ret = strdup("123456");
	return PAM_SUCCESS;
}

void pam_syslog(const pam_handle_t *pamh, int priority, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX * 4];
	va_list ap;

	va_start(ap, fmt);
	NEVER(vsnprintf(text, sizeof(text), fmt, ap) < 0);
	va_end(ap);
	/* Neither a second line nor a secret. */
	NEVER(strpbrk(text, "\n\033") || strstr(text, "123456"));
}

int pam_putenv(pam_handle_t *pamh, const char *entry)
{
	const char *value = strchr(entry, '=');

	NEVER(!value || !name_valid(value + 1));
	NEVER(!str_starts(entry, "VM2_TENANT=") && !str_starts(entry, "VM2_GUEST="));
	return PAM_SUCCESS;
}

int pam_set_data(pam_handle_t *pamh, const char *name, void *data,
		 void (*cleanup)(pam_handle_t *pamh, void *data, int status))
{
	return PAM_SUCCESS;
}

int pam_get_data(const pam_handle_t *pamh, const char *name, const void **ret)
{
	return PAM_NO_MODULE_DATA;
}

int pam_fail_delay(pam_handle_t *pamh, unsigned int us)
{
	return PAM_SUCCESS;
}

/* --- vm2d --- */

static void note_yes(const uint8_t *data, size_t len)
{
	CLEANUP_MSG struct msg m = { 0 };
	const char *event;
	uint64_t status;

	if (msg_parse(&m, (const char *)data, len) != 0)
		return;
	event = msg_get(&m, "event");
	if (event && !strcmp(event, "end") && msg_get_u64(&m, "status", 1, 255, &status, NULL) == 0 &&
	    status == 0)
		script.yes = true;
}

/* The answers to one question are there already, and nothing comes after them. */
int client_connect(const char *path, int *ret_fd, struct err *err)
{
	int pair[2];

	NEVER(++script.questions > QUESTIONS_MAX);
	NEVER(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0);
	while (script.size >= 2) {
		size_t len = (size_t)script.data[0] << 8 | script.data[1];

		script.data += 2;
		script.size -= 2;
		if (len > script.size)
			len = script.size;
		if (len == 0 || send(pair[1], script.data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
		note_yes(script.data, len);
		script.data += len;
		script.size -= len;
	}
	close(pair[1]);
	*ret_fd = pair[0];
	return 0;
}

static int call(int which, pam_handle_t *pamh)
{
	switch (which % 5) {
	case 0:
		return pam_sm_authenticate(pamh, 0, 0, NULL);
	case 1:
		return pam_sm_acct_mgmt(pamh, 0, 0, NULL);
	case 2:
		return pam_sm_open_session(pamh, 0, 0, NULL);
	case 3:
		return pam_sm_chauthtok(pamh, PAM_PRELIM_CHECK | PAM_CHANGE_EXPIRED_AUTHTOK, 0, NULL);
	default:
		return pam_sm_chauthtok(pamh, PAM_UPDATE_AUTHTOK | PAM_CHANGE_EXPIRED_AUTHTOK, 0, NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int r;

	/* What vm2d says may be logged: it is not to look like the secret by chance. */
	if (size == 0 || memmem(data, size, "123456", 6))
		return 0;
	script.data = data + 1;
	script.size = size - 1;
	script.yes = false;
	script.questions = 0;
	r = call(data[0], (pam_handle_t *)&script);
	NEVER(r < 0 || r >= _PAM_RETURN_VALUES);
	/* Nobody gets in unless vm2d said so; a right password without its code may start a change. */
	NEVER(r == PAM_SUCCESS && !script.yes && data[0] % 5 != 3);
	return 0;
}
