/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/totp.h"

#include <dlfcn.h>
#include <qrencode.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "provision/base/cleanup.h"

/* Light modules around the code: ISO/IEC 18004 wants four; two suffice with a screen's own light. */
#define QUIET 2

static bool is_light(const QRcode *code, int x, int y)
{
	if (x < 0 || y < 0 || x >= code->width || y >= code->width)
		return true;
	return !(code->data[y * code->width + x] & 1);
}

/* Loaded only where it is wanted: else each vm2 would take 0.2 ms longer. */
static QRcode *make_qr(void *library, const char *text)
{
	QRcode *(*encode)(const char *, int, QRecLevel) = NULL;

	/* As dlopen(3) has it: a function behind a pointer to no function. */
	if (library)
		*(void **)(&encode) = dlsym(library, "QRcode_encodeString8bit");
	return encode ? encode(text, 0, QR_ECLEVEL_L) : NULL;
}

/* Two rows in one line of half blocks, white on black whatever the terminal's own colours are. */
static void print_qr(const char *text)
{
	static const char *const blocks[] = { " ", "\u2580", "\u2584", "\u2588" };
	QRcode *code = make_qr(dlopen("libqrencode.so.4", RTLD_NOW | RTLD_LOCAL), text);

	if (!code)
		return;
	for (int y = -QUIET; y < code->width + QUIET; y += 2) {
		printf("\033[97;40m");
		for (int x = -QUIET; x < code->width + QUIET; x++)
			printf("%s", blocks[is_light(code, x, y) | is_light(code, x, y + 1) << 1]);
		printf("\033[0m\n");
	}
	/* Both go with the process. */
}

static void print_text(const struct msg *row)
{
	const char *uri = msg_get(row, "uri"), *code;
	size_t pos = 0;

	printf("%s\n", uri);
	if (isatty(STDOUT_FILENO))
		print_qr(uri);
	printf("\nScan this, or type the secret, into an authenticator. It is not shown again.\n"
	       "Recovery codes, each good for one login without the authenticator:\n");
	while ((code = msg_next_value(row, "recovery", &pos)))
		printf("    %s\n", code);
}

static void print_json(const struct msg *row)
{
	static const char *const fields[] = { "name", "uri", "secret" };
	CLEANUP_BUF struct buf b = { 0 };
	const char *code, *comma = "";
	size_t pos = 0;

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		buf_printf(&b, "%s\"%s\": ", i ? ", " : "{", fields[i]);
		buf_json(&b, msg_get(row, fields[i]));
	}
	buf_puts(&b, ", \"recovery\": [");
	for (; (code = msg_next_value(row, "recovery", &pos)); comma = ", ") {
		buf_puts(&b, comma);
		buf_json(&b, code);
	}
	printf("%s]}\n", b.data);
	explicit_bzero(b.data, b.cap);
}

static void show(void *data, const struct msg *row)
{
	const struct cli *cli = data;

	if (!msg_get(row, "name") || !msg_get(row, "uri") || !msg_get(row, "secret"))
		return;
	if (cli->json)
		print_json(row);
	else
		print_text(row);
}

int totp_run(struct cli *cli, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };
	bool remove = command_option(cli, "remove") != NULL;
	int r;

	command_fill(cli, &request);
	r = command_call(cli, &request, remove ? NULL : show, cli, NULL, err);
	if (r == 0 && remove)
		command_done(cli);
	return r;
}
