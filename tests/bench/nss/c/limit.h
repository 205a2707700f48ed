/* The limit: what a lookup takes that finds its record in a mapped table and copies the answer out, trusts every byte of
 * it, and knows nothing of glibc, replacements or forks. src/table.rs writes the table. */
#include <grp.h>
#include <pwd.h>
#include <stdint.h>

/* What the empty slot held that proved the last miss: whoever goes by a miss has to have seen it. */
extern _Thread_local uint64_t limit_empty;

void limit_open(const char *path);

int limit_user_by_name(const char *name, struct passwd *to, char *buffer, size_t len);
int limit_user_by_uid(uint32_t uid, struct passwd *to, char *buffer, size_t len);
int limit_group_by_name(const char *name, struct group *to, char *buffer, size_t len);
int limit_group_by_gid(uint32_t gid, struct group *to, char *buffer, size_t len);
int limit_initgroups(const char *name, uint32_t primary, uint32_t *gids, int *count);

/* Records one after the other: `*at` is 0 before the first. */
int limit_next_user(uint64_t *at, struct passwd *to, char *buffer, size_t len);
int limit_next_group(uint64_t *at, struct group *to, char *buffer, size_t len);
