/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "provision/cli/screen.h"

static void shows(const char *in, const char *expected)
{
	CLEANUP_BUF struct buf whole = { 0 };
	CLEANUP_BUF struct buf bytes = { 0 };
	struct screen a = { 0 }, b = { 0 };

	screen_filter(&a, in, strlen(in), &whole);
	for (size_t i = 0; i < strlen(in); i++)
		screen_filter(&b, in + i, 1, &bytes);
	cr_assert_str_eq(whole.data ? whole.data : "", expected);
	cr_assert_str_eq(bytes.data ? bytes.data : "", expected, "cut into bytes");
}

Test(screen, draws)
{
	shows("a\r\n\tb\b\a\033[1;31mred\033[0m\033[2J\033[10;5H\033[?25l\033[?1049h\0337\033(0q\033(B",
	      "a\r\n\tb\b\a\033[1;31mred\033[0m\033[2J\033[10;5H\033[?25l\033[?1049h\0337\033(0q\033(B");
	shows("\xc3\xa9\xe2\x82\xac\xc2\xa0\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xc2\xa0\xf0\x9f\x98\x80");
	shows("\033[38;2;1;2;3mx\033[2 q", "\033[38;2;1;2;3mx\033[2 q");
}

Test(screen, asks_the_terminal_nothing)
{
	shows("a\033[cb\033[6nc\033[>cd\033[=ce\033Zf\005g", "abcdefg");
	shows("a\033[21tb\033[?1$pc\033[>qd\033[?ue\033[x", "abcde");
	shows("\033[5ia\033[?5i", "a");
}

Test(screen, changes_nothing_but_the_picture)
{
	shows("\033]0;title\ax", "x");
	shows("\033]52;c;cm0gLXJm\033\\x", "x");
	shows("\033P$q\"p\033\\x\033_a\033\\y\033^b\033\\z", "xyz");
	shows("\033[?1000hx\033[?2004h", "x");
	shows("\033[?25;1000lx", "x");
	shows("\xc2\x9b" "6nx\xc2\x9d" "0;t\xc2\x9c", "6nx0;t");
}

Test(screen, survives_what_is_broken)
{
	shows("\033\033[1mx", "\033[1mx");
	shows("\033[1\030x", "x");
	shows("\033]never ended", "");
	shows("\033]0;a\033[1mx", "\033[1mx");
	shows("\033[1111111111111111111111111111111111111111111111111111111111111111111mx", "11111mx");
}
