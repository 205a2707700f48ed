#define _GNU_SOURCE
#include "limit.h"

#include <err.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { USER_NAMES, USER_IDS, GROUP_NAMES, GROUP_IDS, INDEXES };

struct head {
	struct { uint64_t at, mask; } index[INDEXES];
	uint64_t users, users_end, groups, groups_end;
};
struct slot { uint32_t tag, record; };	/* record: its offset / 8; 0: empty */
struct user { uint32_t uid, gid, gids, strings; uint16_t at[4]; };
struct group_record { uint32_t gid, members, strings, password; };

static const char *table;

void limit_open(const char *path)
{
	struct stat status;
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0 || fstat(file, &status))
		err(2, "%s", path);
	table = mmap(NULL, status.st_size, PROT_READ, MAP_SHARED, file, 0);
	if (table == MAP_FAILED)
		err(2, "%s", path);
	close(file);
}

static inline uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t word(const char *from)
{
	uint64_t word;
	memcpy(&word, from, sizeof word);
	return word;
}

/* As `hash_name` of src/table.rs. */
static inline uint64_t hash_name(const char *name, size_t len)
{
	uint64_t a = 0, b = 0, hash = len;
	for (; len > 16; len -= 8, name += 8)
		hash = fold(hash ^ word(name), 0x9e3779b97f4a7c15);
	if (len >= 8) {
		a = word(name);
		b = word(name + len - 8);
	} else if (len >= 4) {
		uint32_t low, high;
		memcpy(&low, name, 4);
		memcpy(&high, name + len - 4, 4);
		a = low, b = high;
	} else if (len) {
		a = (unsigned char)name[0];
		b = (unsigned char)name[len / 2] | (unsigned char)name[len - 1] << 8;
	}
	return fold(hash ^ a ^ 0x9e3779b97f4a7c15, b ^ 0xd6e8feb86659fd93);
}

static inline uint64_t hash_id(uint32_t id)
{
	return fold(id ^ 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93);
}

static inline const struct head *head(void) { return (const void *)table; }
static inline const void *record(uint32_t number) { return table + 8 * (uint64_t)number; }
static inline const uint32_t *gids(const struct user *user) { return (const void *)(user + 1); }
static inline const char *user_strings(const struct user *user) { return (const char *)(gids(user) + user->gids); }
static inline const uint32_t *offsets(const struct group_record *group) { return (const void *)(group + 1); }
static inline const char *group_strings(const struct group_record *group)
{
	return (const char *)(offsets(group) + group->members);
}

_Thread_local uint64_t limit_empty;

#define FIND(kind, hash, matches)							\
	uint64_t h = hash, mask = head()->index[kind].mask, n = h & mask;		\
	const struct slot *slots = (const void *)(table + head()->index[kind].at);	\
	for (; slots[n].record; n = (n + 1) & mask) {					\
		if (slots[n].tag != (uint32_t)(h >> 32))				\
			continue;							\
		found = record(slots[n].record);					\
		if (matches)								\
			return found;							\
	}										\
	limit_empty = slots[n].tag;							\
	return NULL

static const struct user *user_by_name(const char *name)
{
	const struct user *found;
	size_t len = strlen(name);
	FIND(USER_NAMES, hash_name(name, len), !memcmp(user_strings(found), name, len + 1));
}

static const struct user *user_by_uid(uint32_t uid)
{
	const struct user *found;
	FIND(USER_IDS, hash_id(uid), found->uid == uid);
}

static const struct group_record *group_by_name(const char *name)
{
	const struct group_record *found;
	size_t len = strlen(name);
	FIND(GROUP_NAMES, hash_name(name, len), !memcmp(group_strings(found), name, len + 1));
}

static const struct group_record *group_by_gid(uint32_t gid)
{
	const struct group_record *found;
	FIND(GROUP_IDS, hash_id(gid), found->gid == gid);
}

static inline int fill_user(const struct user *from, struct passwd *to, char *buffer, size_t len)
{
	if (!from || from->strings > len)
		return 0;
	memcpy(buffer, user_strings(from), from->strings);
	to->pw_name = buffer;
	to->pw_passwd = buffer + from->at[0];
	to->pw_uid = from->uid;
	to->pw_gid = from->gid;
	to->pw_gecos = buffer + from->at[1];
	to->pw_dir = buffer + from->at[2];
	to->pw_shell = buffer + from->at[3];
	return 1;
}

static inline int fill_group(const struct group_record *from, struct group *to, char *buffer, size_t len)
{
	if (!from || 8 * (uint64_t)(from->members + 1) + from->strings > len)
		return 0;
	char **members = (char **)buffer;
	char *strings = buffer + 8 * (uint64_t)(from->members + 1);
	memcpy(strings, group_strings(from), from->strings);
	for (uint32_t n = 0; n < from->members; n++)
		members[n] = strings + offsets(from)[n];
	members[from->members] = NULL;
	to->gr_name = strings;
	to->gr_passwd = strings + from->password;
	to->gr_gid = from->gid;
	to->gr_mem = members;
	return 1;
}

int limit_user_by_name(const char *name, struct passwd *to, char *buffer, size_t len)
{
	return fill_user(user_by_name(name), to, buffer, len);
}

int limit_user_by_uid(uint32_t uid, struct passwd *to, char *buffer, size_t len)
{
	return fill_user(user_by_uid(uid), to, buffer, len);
}

int limit_group_by_name(const char *name, struct group *to, char *buffer, size_t len)
{
	return fill_group(group_by_name(name), to, buffer, len);
}

int limit_group_by_gid(uint32_t gid, struct group *to, char *buffer, size_t len)
{
	return fill_group(group_by_gid(gid), to, buffer, len);
}

int limit_initgroups(const char *name, uint32_t primary, uint32_t *to, int *count)
{
	const struct user *user = user_by_name(name);
	to[0] = primary;
	if (!user || (int)user->gids >= *count) {
		*count = 1;
		return 0;
	}
	memcpy(to + 1, gids(user), 4 * (uint64_t)user->gids);
	*count = user->gids + 1;
	return 1;
}

static inline uint64_t padded(uint64_t at) { return (at + 7) & ~7ull; }

int limit_next_user(uint64_t *at, struct passwd *to, char *buffer, size_t len)
{
	uint64_t from = *at ? *at : head()->users;
	if (from == head()->users_end)
		return 0;
	const struct user *user = (const void *)(table + from);
	*at = padded(from + sizeof *user + 4 * (uint64_t)user->gids + user->strings);
	return fill_user(user, to, buffer, len);
}

int limit_next_group(uint64_t *at, struct group *to, char *buffer, size_t len)
{
	uint64_t from = *at ? *at : head()->groups;
	if (from == head()->groups_end)
		return 0;
	const struct group_record *group = (const void *)(table + from);
	*at = padded(from + sizeof *group + 4 * (uint64_t)group->members + group->strings);
	return fill_group(group, to, buffer, len);
}
