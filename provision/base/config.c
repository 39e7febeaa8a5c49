/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "build.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

#define FILE_MAX 65536

enum kind { TEXT, PATH, NAME, INSTANCE, NUMBER, SIZE, FILE_NAME, WORDS };

/* An interface is called INSTANCE-NUMBER, within the kernel's 15 bytes (IFNAMSIZ). */
#define INSTANCE_LEN_MAX 8

struct setting {
	const char *section;
	const char *key;
	enum kind kind;
	size_t offset;
	const char *standard; /* for a PATH: "state:x" and "run:x" are below those folders */
	uint64_t min, max;    /* of a NUMBER */
	const char *comment;
	const char *known; /* of WORDS: those that there are, with spaces between */
};

/* The gateway's algorithms: each list's standard, and what stands in no list but is taken. */
#define KEX                                                                                         \
	"mlkem768x25519-sha256 sntrup761x25519-sha512 sntrup761x25519-sha512@openssh.com "          \
	"curve25519-sha256 curve25519-sha256@libssh.org diffie-hellman-group16-sha512 "             \
	"diffie-hellman-group18-sha512"
#define CIPHERS                                                                                     \
	"aes128-gcm@openssh.com aes256-gcm@openssh.com chacha20-poly1305@openssh.com aes256-ctr "   \
	"aes192-ctr aes128-ctr"
#define MACS	     "hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com"
#define HOSTKEYS     "ssh-ed25519 rsa-sha2-512 rsa-sha2-256"
#define NIST_KEYS    "ecdsa-sha2-nistp256 ecdsa-sha2-nistp384 ecdsa-sha2-nistp521"
#define SK_KEYS	     "sk-ssh-ed25519@openssh.com sk-ecdsa-sha2-nistp256@openssh.com"
#define PUBLIC_KEYS  HOSTKEYS " " NIST_KEYS " " SK_KEYS
#define MORE_KEX     " ecdh-sha2-nistp256 ecdh-sha2-nistp384 ecdh-sha2-nistp521 diffie-hellman-group14-sha256"

#define AT(field) offsetof(struct config, field)

/* The one table: parser, defaults and the commented file all come from it. */
static const struct setting settings[] = {
	{ "instance", "name", INSTANCE, AT(instance), "vm2", 0, 0,
	  "What this instance's names on the host derive from: nftables table, interfaces, cgroup." },
	{ "paths", "state", PATH, AT(state), VM2_LOCALSTATEDIR "/lib/vm2", 0, 0,
	  "What must survive. All paths below derive from these two unless given." },
	{ "paths", "run", PATH, AT(run), "/run/vm2", 0, 0, "What lasts until the next boot." },
	{ "paths", "database", PATH, AT(database), "state:tenants.db", 0, 0, "The tenant database." },
	{ "paths", "templates", PATH, AT(templates), "state:templates", 0, 0,
	  "What guests are made from." },
	{ "paths", "guests", PATH, AT(guests), "state:guests", 0, 0, "The guests' own files." },
	{ "paths", "sessions", PATH, AT(sessions), "state:sessions", 0, 0, "Recordings." },
	{ "paths", "ledger", PATH, AT(ledger), "state:ledger", 0, 0, "The ledger." },
	{ "paths", "hostkeys", PATH, AT(hostkeys), "state:hostkeys", 0, 0, "The gateway's host keys." },
	{ "paths", "socket", PATH, AT(socket), "run:vm2d.sock", 0, 0, "Where vm2d listens." },
	{ "paths", "accounts", PATH, AT(accounts), "run:accounts.snap", 0, 0,
	  "What libnss_vm2 reads; that module knows only the standard path." },
	{ "access", "gateway-user", TEXT, AT(gateway_user), "vm2-gateway", 0, 0,
	  "The user that the SSH gateway runs as." },
	{ "access", "staff-group", TEXT, AT(staff_group), "vm2-staff", 0, 0,
	  "Members change tenants and guests; they read no recordings." },
	{ "access", "audit-group", TEXT, AT(audit_group), "vm2-audit", 0, 0,
	  "Members read recordings and the ledger; they change nothing." },
	{ "daemon", "workers", NUMBER, AT(workers), "64", 1, 4096, "Requests served at once." },
	{ "login", "deny", NUMBER, AT(login_deny), "3", 0, 1000,
	  "Wrong passwords that lock a source, or a tenant for sources it never came from; 0: none." },
	{ "login", "interval", NUMBER, AT(login_interval), "900", 1, 86400,
	  "Seconds within which they count." },
	{ "login", "unlock-time", NUMBER, AT(login_unlock), "600", 1, 86400,
	  "Seconds that a lock lasts; a key lets in meanwhile." },
	{ "gateway", "listen", TEXT, AT(listen), "0.0.0.0:2222 [::]:2222", 0, 0,
	  "Addresses to listen on, separated by spaces." },
	{ "gateway", "max-connections", NUMBER, AT(max_connections), "1000", 1, 100000,
	  "Connections in all." },
	{ "gateway", "max-starting", NUMBER, AT(max_starting), "100", 1, 100000,
	  "Connections that are not yet authenticated." },
	{ "gateway", "early-drop", NUMBER, AT(early_drop), "0", 0, 100000,
	  "From so many of them on newcomers are turned away by lot, and at max-starting all, in place of "
	  "sending away who waits; 0: nobody." },
	{ "gateway", "early-drop-rate", NUMBER, AT(early_drop_rate), "30", 1, 100,
	  "So many of a hundred are then turned away at first." },
	{ "gateway", "login-grace", NUMBER, AT(login_grace), "120", 1, 3600,
	  "Seconds until a connection must be authenticated." },
	{ "gateway", "penalty-exempt", TEXT, AT(penalty_exempt), "127.0.0.0/8 ::1", 0, 0,
	  "Prefixes whose failed logins are not held against them, separated by spaces." },
	{ "gateway", "max-tries", NUMBER, AT(max_tries), "6", 1, 100,
	  "Failed attempts on one connection." },
	{ "gateway", "max-sessions", NUMBER, AT(max_sessions), "10", 1, 1000,
	  "Sessions on one connection." },
	{ "gateway", "max-forwards", NUMBER, AT(max_forwards), "100", 0, 1000,
	  "Forwarded connections on one connection, and as many listeners; 0 forbids forwarding." },
	{ "gateway", "accept-env", TEXT, AT(accept_env), "LANG LC_*", 0, 0,
	  "Variables that a client may set in a session, separated by spaces; * fits any text." },
	{ "gateway", "client-alive", NUMBER, AT(client_alive), "0", 0, 3600,
	  "Seconds of silence after which a client is asked whether it is there; after three that it does "
	  "not answer it is disconnected. 0: never." },
	{ "gateway", "max-per-source", NUMBER, AT(max_per_source), "200", 0, 100000,
	  "Connections of one address, or IPv6 network of 64 bits, in all; 0: no bound." },
	{ "gateway", "banner", FILE_NAME, AT(banner), "", 0, 0,
	  "A file whose text a client is shown before it logs in; empty: none." },
	{ "gateway", "kex", WORDS, AT(kex), KEX, 0, 0,
	  "Key exchanges, best first; those that libssh does not have are passed over.", KEX MORE_KEX },
	{ "gateway", "ciphers", WORDS, AT(ciphers), CIPHERS, 0, 0, "Ciphers.", CIPHERS },
	{ "gateway", "macs", WORDS, AT(macs), MACS, 0, 0, "MACs, for ciphers that need one.", MACS },
	{ "gateway", "host-key-algorithms", WORDS, AT(host_key_algorithms), HOSTKEYS, 0, 0,
	  "How the gateway shows who it is.", HOSTKEYS " " NIST_KEYS },
	{ "gateway", "public-key-algorithms", WORDS, AT(public_key_algorithms), PUBLIC_KEYS, 0, 0,
	  "Signatures of clients' keys.", PUBLIC_KEYS },
	{ "network", "pool4", TEXT, AT(pool4), "10.82.0.0/16", 0, 0,
	  "IPv4 addresses for guests; empty for none." },
	{ "network", "pool6", TEXT, AT(pool6), "fd82:766d:3200::/64", 0, 0,
	  "IPv6 addresses for guests; empty for none." },
	{ "network", "pools", TEXT, AT(pools), "", 0, 0,
	  "Further prefixes, separated by spaces, whose addresses `vm2 address add` gives to guests; they "
	  "are routed to this host." },
	{ "network", "masquerade", NAME, AT(masquerade), "both", 0, 0,
	  "Which of pool4 and pool6 leave with the host's address: both, ipv4, ipv6 or none; others are "
	  "routed to this host." },
	{ "network", "dns", TEXT, AT(dns), "auto", 0, 0,
	  "Resolvers for guests: \"auto\" takes the host's own that are no loopback addresses." },
	{ "network", "table", NAME, AT(table), "owned", 0, 0,
	  "owned: others cannot change our nftables table (Linux 5.12); watched: they can, and it is "
	  "restored." },
	{ "network", "protect", TEXT, AT(protect),
	  "fd00:ec2::254/128 100.100.100.200/32 192.0.0.192/32", 0, 0,
	  "Prefixes that no guest reaches, separated by spaces: the clouds' metadata services; add your "
	  "management networks." },
	{ "network", "connections", NUMBER, AT(connections), "8192", 0, 1000000,
	  "Connections that a guest may have tracked at a time; 0 for no bound." },
	{ "network", "new-connections", NUMBER, AT(new_connections), "1000", 0, 1000000,
	  "Connections that a guest may begin in a second, and twice that at once; 0 for no bound." },
	{ "network", "fragments", NUMBER, AT(fragments), "1000", 0, 1000000,
	  "Fragments of datagrams that a guest may send in a second, and twice that at once; 0 for no bound." },
	{ "network", "history", NUMBER, AT(history), "92", 1, 36500,
	  "Days for which what guests sent and received is kept by the hour." },
	{ "network", "mtu", NUMBER, AT(mtu), "1500", 1280, 65535, "Of guests' eth0, in bytes." },
	{ "guest", "template", NAME, AT(template), "debian", 0, 0,
	  "What a guest is made from when its plan or tenant names none." },
	{ "guest", "plan", NAME, AT(plan), "small", 0, 0, "The plan of a tenant that names none." },
	{ "guest", "storage", NAME, AT(storage), "auto", 0, 0,
	  "Where new guests' files go: overlay, btrfs, or auto: btrfs where paths.guests is on it." },
	{ "guest", "start-timeout", NUMBER, AT(start_timeout), "30", 1, 3600,
	  "Seconds until a guest must be up." },
	{ "guest", "stop-timeout", NUMBER, AT(stop_timeout), "10", 1, 3600,
	  "Seconds that a guest has to stop by itself before it is killed." },
	{ "guest", "start-parallel", NUMBER, AT(start_parallel), "4", 1, 1000,
	  "Guests that are started at a time after the host's boot." },
	{ "accounts", "enumerate", NUMBER, AT(enumerate), "1", 0, 1,
	  "Whether `getent passwd` and its like list the tenants; 0: by name and number only." },
	{ "host", "reserve-memory", SIZE, AT(reserve_memory), "64M", 0, 1ULL << 50,
	  "Memory that a new guest's plan must leave of what is available." },
	{ "host", "reserve-disk", SIZE, AT(reserve_disk), "64M", 0, 1ULL << 50,
	  "The same of the space for guests' files." },
	{ "host", "reserve-addresses", NUMBER, AT(reserve_addresses), "0", 0, 16777216,
	  "IPv4 addresses of the pool that new guests do not get." },
	{ "host", "reserve-ranges", NUMBER, AT(reserve_ranges), "0", 0, 65535,
	  "Ranges of uids that new guests do not get." },
	{ "uids", "account-base", NUMBER, AT(account_base), "1879048192", 65536, 4294900000,
	  "First host uid of tenants' accounts." },
	{ "uids", "account-count", NUMBER, AT(account_count), "1000000", 1, 100000000,
	  "How many accounts there can be." },
	{ "uids", "guest-base", NUMBER, AT(guest_base), "603979776", 65536, 4294900000,
	  "First host uid of guests' ranges, which are 65,536 ids each." },
	{ "uids", "guest-count", NUMBER, AT(guest_count), "19455", 1, 65535,
	  "How many ranges there can be." },
};

static bool is_number(const struct setting *s)
{
	return s->kind == NUMBER || s->kind == SIZE;
}

static char **text_at(struct config *c, const struct setting *s)
{
	return (char **)(void *)((char *)c + s->offset);
}

static bool instance_valid(const char *value)
{
	size_t len = strlen(value);

	return len <= INSTANCE_LEN_MAX && value[0] >= 'a' && value[0] <= 'z' &&
	       strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

/* Each word of a list is one of those that there are, and there is one. */
static bool words_valid(const char *known, const char *value)
{
	CLEANUP_FREE char *copy = xstrdup(value);
	char *rest = copy, *word;
	int n = 0;

	while ((word = strsep(&rest, " \t,"))) {
		const char *at = known;
		size_t len = strlen(word);

		if (!len)
			continue;
		while (at && (strncmp(at, word, len) || (at[len] && at[len] != ' ')))
			at = (at = strchr(at, ' ')) ? at + 1 : NULL;
		if (!at)
			return false;
		n++;
	}
	return n > 0;
}

static const char *check_value(const struct setting *s, const char *value, uint64_t *ret_number)
{
	switch (s->kind) {
	case NUMBER:
		if (parse_u64(value, s->max, ret_number) < 0 || *ret_number < s->min)
			return "is not a whole number in the allowed range";
		return NULL;
	case SIZE:
		if (parse_size(value, ret_number) < 0 || *ret_number > s->max)
			return "is not a size in bytes, or like 512M, in the allowed range";
		return NULL;
	case PATH:
		return value[0] == '/' ? NULL : "must be an absolute path";
	case NAME:
		return name_valid(value) ? NULL : "must be a name of lower-case letters, digits and '-'";
	case INSTANCE:
		return instance_valid(value) ? NULL :
					       "must be 1 to 8 of a-z, 0-9 and '_', a letter first";
	case FILE_NAME:
		return !*value || value[0] == '/' ? NULL : "must be an absolute path, or empty";
	case WORDS:
		return words_valid(s->known, value) ? NULL : "is to be made of these:";
	case TEXT:
		return NULL;
	}
	return NULL;
}

static int assign(struct config *c, const struct setting *s, const char *value, struct err *err)
{
	uint64_t number = 0;
	const char *wrong = check_value(s, value, &number);

	if (wrong && is_number(s))
		return err_set(err, ERR_USAGE, "%s = '%s' %s, %lu to %lu", s->key, value, wrong,
			       (unsigned long)s->min, (unsigned long)s->max);
	if (wrong)
		return err_set(err, ERR_USAGE, "%s = '%.80s' %s%s%s", s->key, value, wrong,
			       s->known ? " " : "", s->known ? s->known : "");
	if (is_number(s)) {
		memcpy((char *)c + s->offset, &number, sizeof(number));
		return 0;
	}
	free(*text_at(c, s));
	*text_at(c, s) = xstrdup(value);
	return 0;
}

static const struct setting *find_setting(const char *section, const char *key)
{
	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		if (!strcmp(settings[i].section, section) && !strcmp(settings[i].key, key))
			return &settings[i];
	return NULL;
}

static char *strip(char *s)
{
	char *end;

	s += strspn(s, " \t\r");
	end = s + strlen(s);
	while (end > s && strchr(" \t\r", end[-1]))
		*--end = '\0';
	return s;
}

static int parse_line(struct config *c, char *line, char **section, struct err *err)
{
	const struct setting *s;
	char *equals, *key;

	line = strip(line);
	if (!*line || *line == '#' || *line == ';')
		return 0;
	if (*line == '[') {
		if (line[strlen(line) - 1] != ']')
			return err_set(err, ERR_USAGE, "a section starts with '[' and must end with ']'");
		line[strlen(line) - 1] = '\0';
		*section = line + 1;
		return 0;
	}
	equals = strchr(line, '=');
	if (!equals)
		return err_set(err, ERR_USAGE, "'%.80s' is neither 'key = value' nor '[section]'", line);
	*equals = '\0';
	key = strip(line);
	s = find_setting(*section, key);
	if (!s)
		return err_set(err, ERR_USAGE, "there is no setting '%.80s' in [%.80s]", key, *section);
	return assign(c, s, strip(equals + 1), err);
}

static int parse_text(struct config *c, char *text, const char *path, struct err *err)
{
	char none[] = "", *section = none, *line;
	int number = 0, r;

	while ((line = strsep(&text, "\n"))) {
		number++;
		r = parse_line(c, line, &section, err);
		if (r != 0) {
			err_wrap(err, "%s:%d", path, number);
			return r;
		}
	}
	return 0;
}

static void set_defaults(struct config *c)
{
	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		if (!str_starts(settings[i].standard, "state:") && !str_starts(settings[i].standard, "run:"))
			assign(c, &settings[i], settings[i].standard, NULL);
}

static void derive_paths(struct config *c)
{
	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		const struct setting *s = &settings[i];
		const char *below = strchr(s->standard, ':');

		if (s->kind != PATH || !below || *text_at(c, s))
			continue;
		*text_at(c, s) = xasprintf("%s/%s", str_starts(s->standard, "run:") ? c->run : c->state,
					   below + 1);
	}
}

int config_load(const char *path, const struct config **ret, struct err *err)
{
	struct config *c = xcalloc(1, sizeof(*c));
	CLEANUP_FREE char *text = xmalloc(FILE_MAX);
	const char *file = path ? path : CONFIG_DEFAULT_PATH;
	ssize_t len = fd_read_path(AT_FDCWD, file, text, FILE_MAX);
	int r = 0;

	set_defaults(c);
	if (len < 0 && (path || len != -ENOENT))
		r = err_sys(err, (int)-len, "cannot read the configuration %s", file);
	else if (len > 0 && strlen(text) != (size_t)len)
		r = err_set(err, ERR_USAGE, "%s: there is a NUL byte in it", file);
	else if (len > 0)
		r = parse_text(c, text, file, err);
	if (r != 0) {
		config_free(c);
		return r;
	}
	derive_paths(c);
	*ret = c;
	return 0;
}

const struct config *config_free(const struct config *config)
{
	struct config *c = (struct config *)(uintptr_t)config;

	if (!c)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		if (!is_number(&settings[i]))
			free(*text_at(c, &settings[i]));
	free(c);
	return NULL;
}

void config_write_defaults(FILE *out)
{
	const char *section = "";

	fprintf(out, "# VM2. Every setting stands here with its default, see vm2.conf(5).\n");
	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		const struct setting *s = &settings[i];
		const char *below = s->kind == PATH ? strchr(s->standard, ':') : NULL;

		if (strcmp(section, s->section))
			fprintf(out, "\n[%s]\n", s->section);
		section = s->section;
		fprintf(out, "# %s\n", s->comment);
		if (!below)
			fprintf(out, "#%s = %s\n", s->key, s->standard);
		else if (str_starts(s->standard, "run:"))
			fprintf(out, "#%s = /run/vm2/%s\n", s->key, below + 1);
		else
			fprintf(out, "#%s = %s/lib/vm2/%s\n", s->key, VM2_LOCALSTATEDIR, below + 1);
	}
}
