/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nss_vm2/entries.h"

#include <errno.h>
#include <stdalign.h>

/* "acme" and "+65535" with the NUL. */
#define LOGIN_MAX (SNAPSHOT_NAME_MAX + 7)

/* What is left of the caller's buffer. */
struct room {
	char *at;
	size_t left;
};

/* Lay a string into the room; NULL when it does not fit. */
static char *lay(struct room *room, const char *s)
{
	size_t len = strlen(s) + 1;
	char *at = room->at;

	if (len > room->left)
		return NULL;
	memcpy(at, s, len);
	room->at += len;
	room->left -= len;
	return at;
}

/* Decimal digits without snprintf, which would bring the locale and a large stack. */
static void login_name(const struct found *f, char out[LOGIN_MAX])
{
	size_t len = strlen(f->tenant.name);
	uint32_t v = (uint32_t)f->guest_id;
	char digits[8];
	size_t n = 0;

	memcpy(out, f->tenant.name, len);
	if (f->guest_id >= 0) {
		out[len++] = '+';
		do
			digits[n++] = (char)('0' + v % 10);
		while ((v /= 10) > 0);
		while (n > 0)
			out[len++] = digits[--n];
	}
	out[len] = 0;
}

uint32_t found_number(const struct found *f)
{
	return f->guest_id < 0 ? f->tenant.uid : f->tenant.guest_base + (uint32_t)f->guest_id;
}

/* 0..65535 in the one way that login_name() writes it, or -1. */
static int32_t parse_guest_id(const char *s)
{
	int32_t v = 0;

	if (!s[0] || (s[0] == '0' && s[1]))
		return -1;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -1;
		v = v * 10 + (*s - '0');
		if (v >= SNAPSHOT_RANGE)
			return -1;
	}
	return v;
}

int found_by_name(const struct snapshot_reader *r, const char *name, struct found *ret)
{
	size_t len = strcspn(name, "+");
	char tenant[SNAPSHOT_NAME_MAX + 1];
	struct found f = { .guest_id = -1 };
	int e;

	if (len > SNAPSHOT_NAME_MAX)
		return -ENOENT;
	memcpy(tenant, name, len);
	tenant[len] = 0;
	if (name[len] == '+') {
		f.guest_id = parse_guest_id(name + len + 1);
		if (f.guest_id < 0)
			return -ENOENT;
	}
	e = snapshot_by_name(r, tenant, &f.tenant);
	if (e < 0)
		return e;
	if (f.guest_id >= 0 && !f.tenant.guest_base)
		return -ENOENT;
	*ret = f;
	return 0;
}

int found_by_number(const struct snapshot_reader *r, uint32_t number, struct found *ret)
{
	struct found f = { .guest_id = -1 };
	int e;

	e = snapshot_by_uid(r, number, &f.tenant);
	if (e == -ENOENT) {
		e = snapshot_by_guest_uid(r, number, &f.tenant);
		if (e == 0)
			f.guest_id = (int32_t)(number - f.tenant.guest_base);
	}
	if (e < 0)
		return e;
	*ret = f;
	return 0;
}

int entry_passwd(const struct snapshot_reader *r, const struct found *f, void *entry, char *buf,
		 size_t len)
{
	struct room room = { buf, len };
	bool guest = f->guest_id >= 0;
	char login[LOGIN_MAX], inside[SNAPSHOT_NAME_MAX + 1] = "VM2 guest user";
	struct passwd pw = { .pw_uid = found_number(f), .pw_gid = found_number(f) };
	int e = guest ? snapshot_inside(r, &f->tenant, (uint32_t)f->guest_id, inside) : 0;

	if (e < 0 && e != -ENOENT)
		return e;
	login_name(f, login);
	pw.pw_name = lay(&room, login);
	pw.pw_passwd = lay(&room, guest ? "*" : "x");
	pw.pw_gecos = lay(&room, guest ? inside : "VM2 tenant");
	pw.pw_dir = lay(&room, guest ? "/" : r->home);
	pw.pw_shell = lay(&room, guest ? "/usr/sbin/nologin" : r->shell);
	if (!pw.pw_name || !pw.pw_passwd || !pw.pw_gecos || !pw.pw_dir || !pw.pw_shell)
		return -ERANGE;
	*(struct passwd *)entry = pw;
	return 0;
}

int entry_group(const struct snapshot_reader *r, const struct found *f, void *entry, char *buf,
		size_t len)
{
	size_t pad = -(uintptr_t)buf % alignof(char *);
	struct group gr = { .gr_gid = found_number(f) };
	char login[LOGIN_MAX];
	struct room room;

	(void)r;
	if (len < pad + sizeof(char *))
		return -ERANGE;
	/* The member list comes first, where alignment costs least: it is always empty. */
	gr.gr_mem = (char **)(void *)(buf + pad);
	room = (struct room){ buf + pad + sizeof(char *), len - pad - sizeof(char *) };
	login_name(f, login);
	gr.gr_name = lay(&room, login);
	gr.gr_passwd = lay(&room, "*");
	if (!gr.gr_name || !gr.gr_passwd)
		return -ERANGE;
	gr.gr_mem[0] = NULL;
	*(struct group *)entry = gr;
	return 0;
}

int entry_shadow(const struct snapshot_reader *r, const struct found *f, void *entry, char *buf,
		 size_t len)
{
	struct room room = { buf, len };
	/* -1 and ~0 are how "not set" is said (getspnam(3), sgetspent in glibc). */
	struct spwd sp = { .sp_lstchg = -1, .sp_min = -1, .sp_max = -1, .sp_warn = -1,
			   .sp_inact = -1, .sp_expire = -1, .sp_flag = ~0UL };

	(void)r;
	if (f->guest_id >= 0)
		return -ENOENT;
	sp.sp_namp = lay(&room, f->tenant.name);
	sp.sp_pwdp = lay(&room, "*");
	if (!sp.sp_namp || !sp.sp_pwdp)
		return -ERANGE;
	*(struct spwd *)entry = sp;
	return 0;
}
