/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the table of requests points to: one file for each noun. */
#ifndef VM2_DAEMON_HANDLERS_H
#define VM2_DAEMON_HANDLERS_H

#include "provision/daemon/request.h"
#include "provision/store/authkey.h"

/* host.c */
int host_status(struct request *r);

/* repair.c */
int host_repair(struct request *r);

/* template.c */
int template_build(struct request *r);
int template_import(struct request *r);
int template_list(struct request *r);
int template_verify(struct request *r);
int template_remove(struct request *r);

/* plan.c */
int plan_add(struct request *r);
int plan_set(struct request *r);
int plan_remove(struct request *r);
int plan_list(struct request *r);
/* The limits that a request names; with droppable "plan" takes one back. ERR_USAGE. */
int plan_limits(struct request *r, bool droppable, struct limits_part *ret);
/* The lists of a request; NULL: it says nothing, "": as if nothing had been said. ERR_USAGE. */
int plan_lists(struct request *r, struct store_lists_change *ret);
bool plan_changes_lists(const struct store_lists_change *change);
/* As they will be; what is taken back is as in `plan`, NULL: of a plan itself. */
void plan_fill_lists(struct store_lists *lists, const struct store_lists_change *change,
	const struct store_lists *plan);
/* Limits and lists as fields of a row. */
void plan_add_limits(struct msg *row, const struct limits *limits);
void plan_add_lists(struct msg *row, const struct store_lists *lists);

/* tenant.c */
int tenant_add(struct request *r);
int tenant_list(struct request *r);
int tenant_show(struct request *r);
int tenant_set(struct request *r);
int tenant_passwd(struct request *r);
int tenant_suspend(struct request *r);
int tenant_resume(struct request *r);
int tenant_remove(struct request *r);

/* login.c */
int tenant_totp(struct request *r);
int tenant_unlock(struct request *r);
/* What tenant.set changes about logins; *ret_any: whether the request says something about them. */
int login_set(struct request *r, const char *name, bool *ret_any);
/* What tenant.show says about logins. */
int login_fields(struct request *r, const char *name, struct msg *row);

/* key.c */
int key_add(struct request *r);
int key_list(struct request *r);
int key_remove(struct request *r);
/* A parsed key as a row; the blob stays the parsed one's. */
void key_fill(const struct authkey *parsed, struct store_key *ret);

/* ca.c */
int ca_add(struct request *r);
int ca_list(struct request *r);
int ca_remove(struct request *r);
int auth_ca(struct request *r);

/* guest.c */
int guest_rows(struct request *r);
int guest_row(struct request *r);
int guest_up(struct request *r);
int guest_down(struct request *r);
int guest_again(struct request *r);
int guest_console(struct request *r);
int guest_away(struct request *r);

/* snapshot.c */
int guest_snapshot(struct request *r);
int guest_snapshots(struct request *r);
int guest_unsnapshot(struct request *r);
int guest_restore(struct request *r);

/* publish.c */
int publish_add(struct request *r);
int publish_list(struct request *r);
int publish_remove(struct request *r);

/* address.c */
int address_add(struct request *r);
int address_list(struct request *r);
int address_remove(struct request *r);

/* rule.c */
int rule_add(struct request *r);
int rule_list(struct request *r);
int rule_remove(struct request *r);

/* firewall.c */
int firewall_show(struct request *r);
int firewall_plan(struct request *r);
int firewall_restore(struct request *r);

/* traffic.c */
int network_traffic(struct request *r);
int network_history(struct request *r);
/* What guest.show says about it. */
int traffic_fields(struct request *r, const char *tenant, struct msg *row);

/* transfer.c */
int guest_export(struct request *r);
int guest_import(struct request *r);
/* Export the tenant's guest, if there is one, to STATE/kept/NAME-TIME.guest. */
int transfer_keep(struct request *r, const char *name);

/* session.c, open.c */
int session_list(struct request *r);
int session_show(struct request *r);
int session_read(struct request *r);
int session_close(struct request *r);
int session_open(struct request *r);

/* auth.c */
int auth_key(struct request *r);
int auth_methods(struct request *r);
int auth_password(struct request *r);
int auth_change(struct request *r);
int auth_account(struct request *r);
int auth_open(struct request *r);

#endif
