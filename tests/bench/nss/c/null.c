/* libnss_null.so.2: answers with constants. What a lookup through it takes is glibc's own part, the floor. */
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <stddef.h>
#include <string.h>

static char name[] = "nobody", password[] = "*", gecos[] = "", home[] = "/", shell[] = "/bin/sh";
static char *members[] = { NULL };

/* An enumeration is as long as the largest that is measured in one go. */
enum { ENTRIES = 1000 };
static int users_left, groups_left;

#define REST char *buffer, size_t len, int *errnop
#define UNUSED (void)buffer, (void)len, (void)errnop

static enum nss_status user(struct passwd *to)
{
	to->pw_name = name;
	to->pw_passwd = password;
	to->pw_uid = 65534;
	to->pw_gid = 65534;
	to->pw_gecos = gecos;
	to->pw_dir = home;
	to->pw_shell = shell;
	return NSS_STATUS_SUCCESS;
}

static enum nss_status group(struct group *to)
{
	to->gr_name = name;
	to->gr_passwd = password;
	to->gr_gid = 65534;
	to->gr_mem = members;
	return NSS_STATUS_SUCCESS;
}

/* Misses are asked for with keys that start with an exclamation mark, or lie above this id. */
enum { NOBODY_FROM = 2000000000 };

enum nss_status _nss_null_getpwnam_r(const char *key, struct passwd *to, REST)
{
	UNUSED;
	return *key == '!' ? NSS_STATUS_NOTFOUND : user(to);
}

enum nss_status _nss_null_getpwuid_r(uid_t key, struct passwd *to, REST)
{
	UNUSED;
	return key >= NOBODY_FROM ? NSS_STATUS_NOTFOUND : user(to);
}

enum nss_status _nss_null_getgrnam_r(const char *key, struct group *to, REST)
{
	UNUSED;
	return *key == '!' ? NSS_STATUS_NOTFOUND : group(to);
}

enum nss_status _nss_null_getgrgid_r(gid_t key, struct group *to, REST)
{
	UNUSED;
	return key >= NOBODY_FROM ? NSS_STATUS_NOTFOUND : group(to);
}

enum nss_status _nss_null_setpwent(int stay_open)
{
	(void)stay_open;
	users_left = ENTRIES;
	return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_null_endpwent(void) { return NSS_STATUS_SUCCESS; }

enum nss_status _nss_null_getpwent_r(struct passwd *to, REST)
{
	UNUSED;
	return users_left-- > 0 ? user(to) : NSS_STATUS_NOTFOUND;
}

enum nss_status _nss_null_setgrent(int stay_open)
{
	(void)stay_open;
	groups_left = ENTRIES;
	return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_null_endgrent(void) { return NSS_STATUS_SUCCESS; }

enum nss_status _nss_null_getgrent_r(struct group *to, REST)
{
	UNUSED;
	return groups_left-- > 0 ? group(to) : NSS_STATUS_NOTFOUND;
}

/* Eleven gids, as many as everybody has in the data of the benchmark. */
enum nss_status _nss_null_initgroups_dyn(const char *key, gid_t primary, long *start, long *size, gid_t **gids,
	long limit, int *errnop)
{
	(void)primary, (void)limit, (void)errnop;
	if (*key == '!')
		return NSS_STATUS_NOTFOUND;
	for (gid_t n = 0; n < 11 && *start < *size; n++)
		(*gids)[(*start)++] = 70000 + n;
	return NSS_STATUS_SUCCESS;
}
