/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/session/modes.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/str.h"

/* What a client sends for a character that is switched off. */
#define NO_CHARACTER 255

enum { INPUT_SPEED = 128, OUTPUT_SPEED = 129 };

static const struct {
	uint64_t number;
	size_t at; /* in c_cc */
} characters[] = {
	{ 1, VINTR },  { 2, VQUIT },   { 3, VERASE },	{ 4, VKILL },	 { 5, VEOF },
	{ 6, VEOL },   { 7, VEOL2 },   { 8, VSTART },	{ 9, VSTOP },	 { 10, VSUSP },
	{ 12, VREPRINT }, { 13, VWERASE }, { 14, VLNEXT }, { 16, VSWTC }, { 18, VDISCARD },
};

/* 90 to 93, a line's parity and size of characters, are not for a pseudo-terminal. */
static const struct {
	uint64_t number;
	size_t field; /* of struct termios */
	tcflag_t flag;
} flags[] = {
#define INPUT  offsetof(struct termios, c_iflag)
#define LOCAL  offsetof(struct termios, c_lflag)
#define OUTPUT offsetof(struct termios, c_oflag)
	{ 30, INPUT, IGNPAR },	{ 31, INPUT, PARMRK },	{ 32, INPUT, INPCK },  { 33, INPUT, ISTRIP },
	{ 34, INPUT, INLCR },	{ 35, INPUT, IGNCR },	{ 36, INPUT, ICRNL },  { 37, INPUT, IUCLC },
	{ 38, INPUT, IXON },	{ 39, INPUT, IXANY },	{ 40, INPUT, IXOFF },  { 41, INPUT, IMAXBEL },
	{ 42, INPUT, IUTF8 },	{ 50, LOCAL, ISIG },	{ 51, LOCAL, ICANON }, { 52, LOCAL, XCASE },
	{ 53, LOCAL, ECHO },	{ 54, LOCAL, ECHOE },	{ 55, LOCAL, ECHOK },  { 56, LOCAL, ECHONL },
	{ 57, LOCAL, NOFLSH },	{ 58, LOCAL, TOSTOP },	{ 59, LOCAL, IEXTEN }, { 60, LOCAL, ECHOCTL },
	{ 61, LOCAL, ECHOKE },	{ 62, LOCAL, PENDIN },	{ 70, OUTPUT, OPOST }, { 71, OUTPUT, OLCUC },
	{ 72, OUTPUT, ONLCR },	{ 73, OUTPUT, OCRNL },	{ 74, OUTPUT, ONOCR }, { 75, OUTPUT, ONLRET },
};

static const struct {
	uint64_t bits; /* a second */
	speed_t speed;
} speeds[] = {
	{ 300, B300 },	   { 1200, B1200 },   { 2400, B2400 },	   { 4800, B4800 },
	{ 9600, B9600 },   { 19200, B19200 }, { 38400, B38400 },   { 57600, B57600 },
	{ 115200, B115200 }, { 230400, B230400 }, { 460800, B460800 }, { 921600, B921600 },
};

static void apply_flag(struct termios *t, size_t field, tcflag_t flag, bool set)
{
	tcflag_t *at = (tcflag_t *)(void *)((char *)t + field);

	*at = set ? *at | flag : *at & ~flag;
}

static void apply_speed(struct termios *t, uint64_t number, uint64_t bits)
{
	for (size_t i = 0; i < ARRAY_LEN(speeds); i++) {
		if (speeds[i].bits != bits)
			continue;
		if (number == INPUT_SPEED)
			cfsetispeed(t, speeds[i].speed);
		else
			cfsetospeed(t, speeds[i].speed);
	}
}

static void apply(struct termios *t, uint64_t number, uint64_t value)
{
	for (size_t i = 0; i < ARRAY_LEN(characters); i++)
		if (characters[i].number == number)
			t->c_cc[characters[i].at] = value == NO_CHARACTER ? _POSIX_VDISABLE : (cc_t)value;
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (flags[i].number == number)
			apply_flag(t, flags[i].field, flags[i].flag, value);
	if (number == INPUT_SPEED || number == OUTPUT_SPEED)
		apply_speed(t, number, value);
}

void modes_apply(const char *text, struct termios *t)
{
	CLEANUP_FREE char *copy = xstrdup(text);
	char *rest = copy, *word;

	while ((word = strsep(&rest, " "))) {
		char *value = strchr(word, '=');
		uint64_t number, n;

		if (!value)
			continue;
		*value++ = '\0';
		if (parse_u64(word, UINT8_MAX, &number) == 0 && parse_u64(value, UINT32_MAX, &n) == 0)
			apply(t, number, n);
	}
}
