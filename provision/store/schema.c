/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/cleanup.h"
#include "provision/store/db.h"

/*
 * A migration that has been released is never changed: a new one is added at the end.
 * address4 is the number in host byte order: the gap search wants the order of numbers.
 */
const char *const schema_migrations[] = {
	"CREATE TABLE plan ("
	" name TEXT PRIMARY KEY, cpu INTEGER NOT NULL, memory INTEGER NOT NULL,"
	" disk INTEGER NOT NULL, processes INTEGER NOT NULL,"
	" recording TEXT NOT NULL CHECK (recording IN ('required', 'best-effort'))"
	") WITHOUT ROWID;"
	"CREATE TABLE template ("
	" name TEXT PRIMARY KEY, suite TEXT NOT NULL, created INTEGER NOT NULL,"
	" bytes INTEGER NOT NULL, state TEXT NOT NULL"
	") WITHOUT ROWID;"
	"CREATE TABLE tenant ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" uid INTEGER NOT NULL UNIQUE, plan TEXT NOT NULL REFERENCES plan(name),"
	" template TEXT REFERENCES template(name), password TEXT,"
	" state TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),"
	" suspended_reason TEXT, created INTEGER NOT NULL, last_login INTEGER,"
	" password_set INTEGER);"
	"CREATE INDEX tenant_plan ON tenant(plan);"
	"CREATE INDEX tenant_template ON tenant(template);"
	"CREATE TABLE key ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" tenant INTEGER NOT NULL REFERENCES tenant(id) ON DELETE CASCADE,"
	" type TEXT NOT NULL, blob BLOB NOT NULL, fingerprint TEXT NOT NULL,"
	" comment TEXT NOT NULL, created INTEGER NOT NULL, UNIQUE (tenant, blob));"
	"CREATE TABLE guest ("
	" tenant INTEGER PRIMARY KEY REFERENCES tenant(id),"
	" template TEXT NOT NULL REFERENCES template(name),"
	" number INTEGER NOT NULL UNIQUE, uid_base INTEGER NOT NULL UNIQUE,"
	" address4 INTEGER UNIQUE, address6 TEXT UNIQUE, type TEXT NOT NULL,"
	" intent TEXT NOT NULL CHECK (intent IN ('creating', 'present', 'destroying')),"
	" created INTEGER NOT NULL);"
	"CREATE INDEX guest_template ON guest(template);"
	"CREATE TABLE session ("
	" id TEXT PRIMARY KEY, tenant TEXT NOT NULL, kind TEXT NOT NULL, command TEXT,"
	" source TEXT, credential TEXT, via TEXT NOT NULL, started INTEGER NOT NULL,"
	" ended INTEGER, status INTEGER, signal TEXT, pid INTEGER NOT NULL,"
	" pid_start INTEGER NOT NULL, recorded INTEGER NOT NULL DEFAULT 0,"
	" bytes_in INTEGER NOT NULL DEFAULT 0, bytes_out INTEGER NOT NULL DEFAULT 0,"
	" state TEXT NOT NULL CHECK (state IN ('open', 'closed', 'lost'))"
	") WITHOUT ROWID;"
	"CREATE INDEX session_tenant ON session(tenant, id);"
	"CREATE INDEX session_open ON session(state, tenant) WHERE state = 'open';"
	"CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
	"INSERT INTO plan VALUES ('small', 100, 536870912, 0, 512, 'best-effort');",
	/* A guest has a storage driver, and may stand on no template; a template has a digest. */
	"CREATE TABLE guest_new ("
	" tenant INTEGER PRIMARY KEY REFERENCES tenant(id),"
	" template TEXT REFERENCES template(name),"
	" number INTEGER NOT NULL UNIQUE, uid_base INTEGER NOT NULL UNIQUE,"
	" address4 INTEGER UNIQUE, address6 TEXT UNIQUE, type TEXT NOT NULL,"
	" intent TEXT NOT NULL CHECK (intent IN ('creating', 'present', 'destroying')),"
	" created INTEGER NOT NULL, driver TEXT NOT NULL DEFAULT 'overlay');"
	"INSERT INTO guest_new SELECT *, 'overlay' FROM guest;"
	"DROP TABLE guest;"
	"ALTER TABLE guest_new RENAME TO guest;"
	"CREATE INDEX guest_template ON guest(template);"
	"ALTER TABLE template ADD COLUMN digest TEXT;",
	/*
	 * A plan's limits are one text (provision/base/limits.h), so that a further one changes no
	 * table; nothing is looked up by them. A tenant may have some otherwise than its plan.
	 */
	"ALTER TABLE plan ADD COLUMN limits TEXT NOT NULL DEFAULT '';"
	"UPDATE plan SET limits = 'cpu=' || cpu || ' memory=' || memory || ' disk=' || disk ||"
	" ' processes=' || processes || ' recording=' || recording;"
	"ALTER TABLE plan DROP COLUMN cpu; ALTER TABLE plan DROP COLUMN memory;"
	"ALTER TABLE plan DROP COLUMN disk; ALTER TABLE plan DROP COLUMN processes;"
	"ALTER TABLE plan DROP COLUMN recording;"
	"ALTER TABLE tenant ADD COLUMN limits TEXT NOT NULL DEFAULT '';",
	/*
	 * Failed tries of passwords (lockout.h): tenant 0 is any, source '' all that are not known. No
	 * reference to the tenant: ids are never used again, and rows live for half an hour.
	 */
	"CREATE TABLE failure ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL, source TEXT NOT NULL,"
	" time INTEGER NOT NULL);"
	"CREATE INDEX failure_scope ON failure(tenant, source, time);"
	"CREATE INDEX failure_time ON failure(time);"
	"CREATE TABLE known_source ("
	" tenant INTEGER NOT NULL REFERENCES tenant(id) ON DELETE CASCADE,"
	" source TEXT NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (tenant, source)"
	") WITHOUT ROWID;"
	"CREATE TABLE totp ("
	" tenant INTEGER PRIMARY KEY REFERENCES tenant(id) ON DELETE CASCADE,"
	" secret BLOB NOT NULL, last_step INTEGER NOT NULL DEFAULT 0);"
	"CREATE TABLE recovery_code ("
	" tenant INTEGER NOT NULL REFERENCES tenant(id) ON DELETE CASCADE,"
	" digest BLOB NOT NULL, PRIMARY KEY (tenant, digest)) WITHOUT ROWID;"
	"CREATE TABLE login_rule ("
	" tenant INTEGER PRIMARY KEY REFERENCES tenant(id) ON DELETE CASCADE,"
	" expires INTEGER NOT NULL, password_days INTEGER NOT NULL, change INTEGER NOT NULL,"
	" sources TEXT NOT NULL, hours TEXT NOT NULL);",
	/* Published ports. */
	"CREATE TABLE publish ("
	" protocol TEXT NOT NULL CHECK (protocol IN ('tcp', 'udp')),"
	" host_port INTEGER NOT NULL, guest_port INTEGER NOT NULL,"
	" tenant INTEGER NOT NULL REFERENCES tenant(id) ON DELETE CASCADE,"
	" created INTEGER NOT NULL, PRIMARY KEY (protocol, host_port)) WITHOUT ROWID;"
	"CREATE INDEX publish_tenant ON publish(tenant);",
	/* Guests that are meant to run. */
	"ALTER TABLE guest ADD COLUMN up INTEGER NOT NULL DEFAULT 0;",
	/* Tenants' own rules of the firewall: positions from 1 without a gap. */
	"CREATE TABLE rule ("
	" tenant INTEGER NOT NULL REFERENCES tenant(id) ON DELETE CASCADE,"
	" position INTEGER NOT NULL,"
	" direction TEXT NOT NULL CHECK (direction IN ('in', 'out', 'peer')),"
	" verdict TEXT NOT NULL CHECK (verdict IN ('allow', 'deny')),"
	" protocol TEXT NOT NULL CHECK (protocol IN ('tcp', 'udp', 'icmp', 'any')),"
	" first_port INTEGER NOT NULL, last_port INTEGER NOT NULL, prefix TEXT NOT NULL,"
	" comment TEXT NOT NULL, created INTEGER NOT NULL,"
	" PRIMARY KEY (tenant, position)) WITHOUT ROWID;",
	/* The accounts inside guests, of which most have the same: each list once, while one has it. */
	"CREATE TABLE inside (id INTEGER PRIMARY KEY, list TEXT NOT NULL UNIQUE);"
	"ALTER TABLE guest ADD COLUMN inside INTEGER REFERENCES inside(id);"
	"CREATE INDEX guest_inside ON guest(inside);"
	"CREATE TRIGGER inside_changed AFTER UPDATE OF inside ON guest WHEN OLD.inside NOT NULL BEGIN"
	" DELETE FROM inside WHERE id = OLD.inside AND NOT EXISTS"
	" (SELECT 1 FROM guest WHERE guest.inside = OLD.inside); END;"
	"CREATE TRIGGER inside_removed AFTER DELETE ON guest WHEN OLD.inside NOT NULL BEGIN"
	" DELETE FROM inside WHERE id = OLD.inside AND NOT EXISTS"
	" (SELECT 1 FROM guest WHERE guest.inside = OLD.inside); END;",
	/* What a key may do (provision/base/keyopts.h). */
	"ALTER TABLE key ADD COLUMN options TEXT NOT NULL DEFAULT '';",
	/* Further addresses, as the kernel writes them. */
	"CREATE TABLE address ("
	" address TEXT PRIMARY KEY,"
	" tenant INTEGER NOT NULL REFERENCES tenant(id) ON DELETE CASCADE,"
	" created INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX address_tenant ON address(tenant);",
	/* What guests sent and received (traffic.h): sums with what was last seen, and hours. */
	"CREATE TABLE traffic ("
	" tenant INTEGER PRIMARY KEY REFERENCES tenant(id) ON DELETE CASCADE,"
	" number INTEGER NOT NULL, epoch INTEGER NOT NULL,"
	" seen_sent_packets INTEGER NOT NULL, seen_sent_bytes INTEGER NOT NULL,"
	" seen_received_packets INTEGER NOT NULL, seen_received_bytes INTEGER NOT NULL,"
	" sent_packets INTEGER NOT NULL, sent_bytes INTEGER NOT NULL,"
	" received_packets INTEGER NOT NULL, received_bytes INTEGER NOT NULL,"
	" updated INTEGER NOT NULL);"
	"CREATE TABLE traffic_hour ("
	" tenant INTEGER NOT NULL REFERENCES tenant(id) ON DELETE CASCADE,"
	" hour INTEGER NOT NULL, sent_packets INTEGER NOT NULL, sent_bytes INTEGER NOT NULL,"
	" received_packets INTEGER NOT NULL, received_bytes INTEGER NOT NULL,"
	" PRIMARY KEY (tenant, hour)) WITHOUT ROWID;"
	"CREATE INDEX traffic_hour_hour ON traffic_hour(hour);",
	/* And what was dropped. */
	"ALTER TABLE traffic ADD COLUMN seen_dropped INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE traffic ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE traffic_hour ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;",
	/* Authorities whose certificates let users in: of one tenant, or (null) of all. */
	"CREATE TABLE ca ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" tenant INTEGER REFERENCES tenant(id) ON DELETE CASCADE,"
	" type TEXT NOT NULL, blob BLOB NOT NULL, fingerprint TEXT NOT NULL,"
	" comment TEXT NOT NULL, principals TEXT NOT NULL, created INTEGER NOT NULL);"
	"CREATE UNIQUE INDEX ca_blob ON ca(blob, ifnull(tenant, 0));"
	"CREATE INDEX ca_tenant ON ca(tenant);",
	/* Whose tenants are, for those that have several. */
	"ALTER TABLE tenant ADD COLUMN owner TEXT NOT NULL DEFAULT '';"
	"CREATE INDEX tenant_owner ON tenant(owner) WHERE owner != '';",
	/* Whom guests ask for names, and where they look for short ones; '': as the configuration, or the plan. */
	"ALTER TABLE plan ADD COLUMN nameservers TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE plan ADD COLUMN search TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE tenant ADD COLUMN nameservers TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE tenant ADD COLUMN search TEXT NOT NULL DEFAULT '';",
	/*
	 * What of the quota is used: bytes of the month that began then; whether that is beyond it, and
	 * whether the kernel has been told.
	 */
	"ALTER TABLE traffic ADD COLUMN month INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE traffic ADD COLUMN month_bytes INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE traffic ADD COLUMN beyond INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE traffic ADD COLUMN held INTEGER NOT NULL DEFAULT 0;"
	"UPDATE traffic SET month = CAST(strftime('%s', 'now', 'start of month') AS INTEGER),"
	" month_bytes = (SELECT coalesce(sum(sent_bytes + received_bytes), 0) FROM traffic_hour h"
	"  WHERE h.tenant = traffic.tenant"
	"  AND h.hour >= CAST(strftime('%s', 'now', 'start of month') AS INTEGER));",
	/* Which variables clients may set, beside those of the configuration. */
	"ALTER TABLE plan ADD COLUMN accept_env TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE tenant ADD COLUMN accept_env TEXT NOT NULL DEFAULT '';",
};

const int schema_version = ARRAY_LEN(schema_migrations);
