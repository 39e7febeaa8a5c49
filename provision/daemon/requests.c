/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stddef.h>

#include "provision/daemon/handlers.h"

#define STAFF	ROLE_STAFF
#define READERS (ROLE_STAFF | ROLE_AUDIT)
#define OWNERS	(ROLE_STAFF | ROLE_AUDIT | ROLE_SELF)
#define DOORS	(ROLE_GATEWAY | ROLE_SELF)
#define CHANGES REQUEST_CHANGES
#define LOGS	REQUEST_LOGS

/* All that vm2d can be asked for. docs/PRIVILEGES repeats it; a test compares them. */
const struct request_kind request_kinds[] = {
	{ "host.status", READERS, 0, "", host_status, "how many of what there is" },

	{ "host.repair", STAFF, CHANGES, "[dry]", host_repair,
		"bring host and database in line, or say what would be done" },

	{ "template.build", STAFF, CHANGES, "name [suite] [include] [variant] [mirror]",
		template_build, "make a Debian tree" },
	{ "template.import", 0, CHANGES, "name", template_import,
		"take a tree, a tarball or an image from a descriptor" },
	{ "template.list", READERS, 0, "", template_list, "the templates" },
	{ "template.verify", STAFF, LOGS, "name", template_verify,
		"compare all of it with what it was" },
	{ "template.remove", STAFF, CHANGES, "name", template_remove, "delete an unused template" },

	{ "plan.add", STAFF, CHANGES, "name [LIMITS] [LISTS] [dry_run]", plan_add, "name limits" },
	{ "plan.set", STAFF, CHANGES, "name [LIMITS] [LISTS] [dry_run]", plan_set, "change limits, now" },
	{ "plan.list", READERS, 0, "", plan_list, "the plans" },
	{ "plan.remove", STAFF, CHANGES, "name [dry_run]", plan_remove, "forget an unused plan" },

	{ "tenant.add", STAFF, CHANGES, "name [plan] [template] [owner] [key*]", tenant_add,
		"onboard a tenant" },
	{ "tenant.list", READERS, 0, "", tenant_list, "the tenants" },
	{ "tenant.show", OWNERS, 0, "name", tenant_show, "one tenant" },
	{ "tenant.set", STAFF, CHANGES,
		"name [plan] [owner] [LIMITS] [LISTS] [expires] [password_days] [change_password] [sources] "
		"[hours] [dry_run]",
		tenant_set,
		"another plan, or limits of its own, now" },
	{ "tenant.passwd", STAFF, CHANGES, "name [password]", tenant_passwd,
		"set the password, or take it away" },
	{ "tenant.suspend", STAFF, CHANGES, "name [reason] [dry_run]", tenant_suspend,
		"end the sessions, stop the guest, let nobody in" },
	{ "tenant.resume", STAFF, CHANGES, "name [dry_run]", tenant_resume, "let the tenant in again" },
	{ "tenant.totp", STAFF, CHANGES, "name [remove]", tenant_totp,
		"ask for a one-time code too, or no more" },
	{ "tenant.unlock", STAFF, CHANGES, "name [source]", tenant_unlock,
		"forget wrong passwords" },
	{ "tenant.remove", STAFF, CHANGES, "name [keep] [dry_run]", tenant_remove,
		"destroy the guest, forget the tenant" },

	{ "key.add", STAFF, CHANGES, "tenant key [options] [comment]", key_add, "let a public key in" },
	{ "key.list", OWNERS, 0, "tenant", key_list, "a tenant's keys" },
	{ "key.remove", STAFF, CHANGES, "tenant fingerprint", key_remove, "let a key in no more" },

	{ "ca.add", STAFF, CHANGES, "key [tenant] [principal*] [comment]", ca_add,
		"let an authority's certificates in" },
	{ "ca.list", READERS, 0, "[tenant]", ca_list, "the authorities" },
	{ "ca.remove", STAFF, CHANGES, "ca", ca_remove, "let them in no more" },

	{ "guest.list", READERS, 0, "", guest_rows, "the guests" },
	{ "guest.show", OWNERS, 0, "name", guest_row, "one guest" },
	{ "guest.start", STAFF, CHANGES, "name", guest_up, "bring it up, making it when needed" },
	{ "guest.stop", STAFF, CHANGES, "name", guest_down, "end its sessions and stop it" },
	{ "guest.restart", STAFF, CHANGES, "name", guest_again, "stop it, then bring it up" },
	{ "guest.destroy", STAFF, CHANGES, "name", guest_away, "stop it and delete its files" },
	{ "guest.console", STAFF, 0, "name", guest_console, "what its console said, to be read" },
	{ "guest.snapshot", STAFF, CHANGES, "name [snapshot]", guest_snapshot,
		"keep its files as they are now" },
	{ "guest.snapshots", OWNERS, 0, "name", guest_snapshots, "its snapshots" },
	{ "guest.unsnapshot", STAFF, CHANGES, "name snapshot", guest_unsnapshot,
		"delete a snapshot" },
	{ "guest.restore", STAFF, CHANGES, "name snapshot", guest_restore,
		"give it its files of that time back" },
	{ "guest.export", STAFF, LOGS, "name", guest_export, "write all of it into a descriptor" },
	{ "guest.import", STAFF, CHANGES, "name", guest_import, "make it from a descriptor's export" },

	{ "publish.add", STAFF, CHANGES, "tenant protocol port [dry_run]", publish_add,
		"lead a port of the host's to a guest" },
	{ "publish.list", READERS, 0, "[tenant]", publish_list, "the published ports" },
	{ "publish.remove", STAFF, CHANGES, "tenant protocol port [dry_run]", publish_remove,
		"lead it there no more, and end its connections" },

	{ "address.add", STAFF, CHANGES, "tenant address [move] [dry_run]", address_add,
		"give a guest a further address" },
	{ "address.list", READERS, 0, "[tenant]", address_list, "the guests' addresses" },
	{ "address.remove", STAFF, CHANGES, "tenant address [dry_run]", address_remove,
		"take a further address away, and end its connections" },
	{ "rule.add", STAFF, CHANGES,
		"tenant direction verdict protocol [port] [prefix] [comment] [position] [dry_run]",
		rule_add, "allow or deny a guest's new connections" },
	{ "rule.list", READERS, 0, "[tenant]", rule_list, "the tenants' own rules" },
	{ "rule.remove", STAFF, CHANGES, "tenant position [dry_run]", rule_remove,
		"forget a rule" },

	{ "firewall.show", READERS, 0, "", firewall_show, "the policy in words" },
	{ "firewall.plan", READERS, 0, "", firewall_plan,
		"how the kernel's table differs from the database" },
	{ "firewall.restore", STAFF, CHANGES, "", firewall_restore,
		"put the whole table into the kernel" },

	{ "network.traffic", READERS, 0, "", network_traffic,
		"what each guest sent and received" },
	{ "network.history", READERS, 0, "tenant [hours]", network_history, "the same by the hour" },

	{ "session.list", READERS, 0, "[tenant] [limit]", session_list, "sessions, newest first" },
	{ "session.show", READERS, 0, "id", session_show, "one session" },
	{ "session.read", ROLE_AUDIT, LOGS, "id [segment]", session_read,
		"a recording, to be read" },
	{ "session.open", ROLE_GATEWAY | ROLE_STAFF | ROLE_SELF, LOGS,
		"tenant kind via [command] [argv*] [pty] [term] [cols] [rows] [xpixel] [ypixel] "
		"[env*] [source] [local] [credential]",
		session_open, "become a session in the tenant's guest" },
	{ "session.close", ROLE_SESSION, LOGS,
		"id [status] [signal] [bytes_in] [bytes_out] [recorded] [line] [pid]",
		session_close,
		"how a session ended" },

	{ "auth.key", ROLE_GATEWAY, 0, "tenant key [source]", auth_key,
		"whether the key is the tenant's" },
	{ "auth.ca", ROLE_GATEWAY, 0, "tenant key [principal*] [source]", auth_ca,
		"whether the authority's certificates let the tenant in" },
	{ "auth.methods", ROLE_GATEWAY, 0, "tenant", auth_methods, "what a login of it takes" },
	{ "auth.password", ROLE_GATEWAY, 0, "tenant password [code] [source]", auth_password,
		"whether the password is the tenant's" },
	{ "auth.change", DOORS, CHANGES, "tenant password new [code] [source]", auth_change,
		"set another password, by one who knows it" },
	{ "auth.account", DOORS, 0, "tenant [source] [by]", auth_account,
		"whether the tenant may come in" },
	{ "auth.open", DOORS, 0, "tenant [source] [service]", auth_open, "have the guest running" },
	{ 0 },
};
