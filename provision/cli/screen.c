/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/screen.h"

#include <string.h>

enum {
	TEXT,
	ESCAPE,	  /* after ESC */
	CONTROL,  /* in ESC [ */
	CHARSET,  /* ESC ( and the like: one byte follows */
	STRING,	  /* in ESC ] P X ^ _: nothing of it is shown, to BEL or ESC \ */
	STRING_END, /* in it, after ESC */
	HIGH,	  /* after 0xc2: what UTF-8 makes of C1 control characters starts so */
};

/* Modes that change what is drawn, not what is typed or reported: xterm's ctlseqs, "DECSET". */
static bool mode_allowed(const char *number, size_t len)
{
	static const char *const modes[] = { "1", "3", "5", "6", "7", "12", "25", "47", "1047", "1048",
					     "1049", "2026" };

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (strlen(modes[i]) == len && !strncmp(modes[i], number, len))
			return true;
	return false;
}

static bool modes_allowed(const char *p)
{
	for (;;) {
		size_t len = strcspn(p, ";");

		if (!mode_allowed(p, len))
			return false;
		p += len;
		if (!*p)
			return true;
		p++;
	}
}

/* parameters: what stands between ESC [ and the final byte. */
static bool control_allowed(char *parameters, char final)
{
	if (parameters[0] == '?' && (final == 'h' || final == 'l'))
		return modes_allowed(parameters + 1);
	if (parameters[0] == '?' && (final == 'J' || final == 'K'))
		return true;
	if (!strcmp(parameters, "4") && (final == 'h' || final == 'l'))
		return true;
	/* The shape of the cursor: "CSI Ps SP q". */
	if (final == 'q')
		return strlen(parameters) == 2 && parameters[1] == ' ';
	if (strspn(parameters, "0123456789;:") != strlen(parameters))
		return false;
	return strchr("@ABCDEFGHIJKLMPSTXZ`abdefgmrsu", final) != NULL;
}

static void end_sequence(struct screen *s, struct buf *out, bool allowed)
{
	if (allowed)
		buf_add(out, s->sequence, s->len);
	s->len = 0;
	s->state = TEXT;
}

static void escape(struct screen *s, char c, struct buf *out)
{
	s->sequence[s->len++] = c;
	if (c == '[')
		s->state = CONTROL;
	else if (strchr("]PX^_", c))
		s->state = STRING;
	else if (strchr("()*+#", c))
		s->state = CHARSET;
	else
		end_sequence(s, out, strchr("78DEM=>c", c) != NULL);
}

static void control(struct screen *s, char c, struct buf *out)
{
	char parameters[sizeof(s->sequence)];

	if (s->len + 1 >= sizeof(s->sequence) || (unsigned char)c < 0x20 || (unsigned char)c > 0x7e) {
		end_sequence(s, out, false);
		return;
	}
	s->sequence[s->len++] = c;
	if ((unsigned char)c < 0x40)
		return;
	memcpy(parameters, s->sequence + 2, s->len - 3);
	parameters[s->len - 3] = '\0';
	end_sequence(s, out, control_allowed(parameters, c));
}

static void text(struct screen *s, char c, struct buf *out)
{
	if (c == '\033') {
		s->sequence[0] = c;
		s->len = 1;
		s->state = ESCAPE;
	} else if ((unsigned char)c == 0xc2) {
		s->state = HIGH;
	} else if ((unsigned char)c >= 0x20 ? c != 0x7f : c && strchr("\a\b\t\n\v\f\r\016\017", c)) {
		buf_add(out, &c, 1);
	}
}

static void next(struct screen *s, char c, struct buf *out)
{
	/* ESC begins anew wherever it comes, CAN and SUB end what was begun (ECMA-48). */
	if (s->state != TEXT && s->state != STRING && s->state != STRING_END &&
	    (c == '\033' || c == 0x18 || c == 0x1a)) {
		end_sequence(s, out, false);
		text(s, c, out);
		return;
	}
	switch (s->state) {
	case TEXT:
		text(s, c, out);
		break;
	case ESCAPE:
		if (c)
			escape(s, c, out);
		break;
	case CONTROL:
		control(s, c, out);
		break;
	case CHARSET:
		s->sequence[s->len++] = c;
		end_sequence(s, out, (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'));
		break;
	case STRING:
		if (c == '\a' || c == 0x18 || c == 0x1a)
			end_sequence(s, out, false);
		else if (c == '\033')
			s->state = STRING_END;
		break;
	case STRING_END:
		end_sequence(s, out, false);
		if (c != '\\') {
			text(s, '\033', out);
			next(s, c, out);
		}
		break;
	case HIGH:
		s->state = TEXT;
		if ((unsigned char)c >= 0xa0 && (unsigned char)c <= 0xbf) {
			buf_add(out, "\xc2", 1);
			buf_add(out, &c, 1);
		} else if ((unsigned char)c < 0x80) {
			text(s, c, out);
		}
		break;
	}
}

void screen_filter(struct screen *s, const char *data, size_t len, struct buf *out)
{
	for (size_t i = 0; i < len; i++)
		next(s, data[i], out);
}
