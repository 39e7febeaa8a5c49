/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/store/password.h"

#include <crypt.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/str.h"

/* A hash of the standard cost: what is computed for those who have none. Never an answer. */
#define DUMMY "$y$j9T$dGPo1N4cDyHvtv3zopnrY0$H82u4GmiONBuN1HbVgjYEkujGD/Gq5nG9V..8ywJ.SC"

static const char *wrong_with(const char *password)
{
	size_t len = strlen(password);

	if (len == 0)
		return "is empty";
	if (len > PASSWORD_MAX)
		return "is longer than 511 bytes";
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)password[i] < 0x20 || password[i] == 0x7f)
			return "has control characters in it";
	return NULL;
}

static void wipe_and_free(void *data, int size)
{
	if (data)
		explicit_bzero(data, (size_t)size);
	free(data);
}

int password_hash(const char *password, char **ret, struct err *err)
{
	CLEANUP_FREE char *setting = NULL;
	const char *hash, *wrong = wrong_with(password);
	void *data = NULL;
	int size = 0, r = 0;

	if (wrong)
		return err_set(err, ERR_USAGE, "the password %s", wrong);
	setting = crypt_gensalt_ra("$y$", 0, NULL, 0);
	if (!setting)
		return err_sys(err, errno, "crypt(3) makes no yescrypt salt");
	hash = crypt_ra(password, setting, &data, &size);
	if (!hash || hash[0] == '*')
		r = err_sys(err, errno ? errno : EINVAL, "cannot hash the password");
	else
		*ret = xstrdup(hash);
	wipe_and_free(data, size);
	return r;
}

/* Equal without telling by time where they differ. */
static bool same(const char *a, const char *b)
{
	size_t len = strlen(a);
	unsigned char differ = 0;

	if (strlen(b) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		differ |= (unsigned char)(a[i] ^ b[i]);
	return differ == 0;
}

bool password_verify(const char *password, const char *hash)
{
	bool known = hash && !wrong_with(password);
	void *data = NULL;
	const char *got;
	int size = 0;
	bool right;

	got = crypt_ra(wrong_with(password) ? "" : password, known ? hash : DUMMY, &data, &size);
	right = known && got && got[0] != '*' && same(got, hash);
	wipe_and_free(data, size);
	return right;
}
