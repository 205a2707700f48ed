/* One process that asks one NSS service, told on its standard input what to ask and how often.
 *
 *   lookups [--bind FROM TO]... SERVICE KEYS TABLE BUFFER     asks on command: see `converse`
 *   lookups [--bind FROM TO]... --first SERVICE NAME          one lookup: its nanoseconds
 *   lookups [--bind FROM TO]... --calls SERVICE KEYS BUFFER OPERATION    system calls of a warm lookup
 *   lookups [--bind FROM TO]... --memory SERVICE KEYS         KiB of its own and of files, after lookups
 *
 * Each bind is seen by this process alone. The service `limit` is no service but the table. */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <nss.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "limit.h"

/* Enough to leave every cache behind; the records that they lead to lie all over the file. */
enum { MOST_KEYS = 1 << 18, MOST_GIDS = 1 << 16, MOST_THREADS = 64 };
static const uint32_t ABSENT_FROM = 2000000000, PRIMARY = 100;

struct keys { size_t count; char **names, **absent; uint32_t *ids; };
static struct keys users, groups;
static int limit;	/* ask the table instead of a service */
/* That of the thread alone, since whatever else runs on the machine takes turns with it; but who waits for a daemon's answer
 * takes time on no processor of its own. */
static clockid_t measured_by = CLOCK_THREAD_CPUTIME_ID;
static size_t buffer_len;

/* One of each thread, in cache lines of its own. */
struct asker { _Alignas(256) size_t next; uint64_t link; char *buffer; uint32_t *gids; uint64_t found, ns; };

static uint64_t now(clockid_t clock)
{
	struct timespec time;
	clock_gettime(clock, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void *room(size_t len)
{
	void *room = malloc(len);
	if (!room)
		err(2, "no memory");
	return room;
}

/* Lines of a name and an id. */
static struct keys read_keys(const char *directory, const char *file)
{
	struct keys keys = { 0, room(MOST_KEYS * sizeof(char *)), room(MOST_KEYS * sizeof(char *)),
		room(MOST_KEYS * sizeof(uint32_t)) };
	char path[4096], name[64];
	snprintf(path, sizeof path, "%s/%s", directory, file);
	FILE *from = fopen(path, "re");
	if (!from)
		err(2, "%s", path);
	while (keys.count < MOST_KEYS && fscanf(from, "%63s %" SCNu32, name, &keys.ids[keys.count]) == 2) {
		keys.names[keys.count] = strdup(name);
		if (asprintf(&keys.absent[keys.count], "!%s", name) < 0)
			err(2, "no memory");
		keys.count++;
	}
	fclose(from);
	if (!keys.count)
		errx(2, "%s: no keys", path);
	return keys;
}

/* Each asks once, with the next key, and says how many entries it got.
 *
 * Whoever looks somebody up needs the answer to go on. So the next key is made to depend on the last answer: a processor
 * must not hide what a lookup takes by doing several at a time, which it could do best with those of `limit`. */
typedef int operation(struct asker *);

static volatile uint64_t nothing = 0;

static size_t next(struct asker *asker, const struct keys *keys)
{
	size_t n = asker->next++;
	if (asker->next >= keys->count)
		asker->next = 0;
	return (n < keys->count ? n : 0) + asker->link;
}

static uint64_t of_passwd(const struct passwd *found) { return found->pw_uid + *found->pw_name + *found->pw_shell; }

static uint64_t of_group(const struct group *found)
{
	return found->gr_gid + *found->gr_name + (*found->gr_mem ? **found->gr_mem : 0);
}

#define OPERATION(function, limited, type, call, keys, key)						\
	static int function(struct asker *asker)							\
	{												\
		struct type entry, *found = NULL;							\
		size_t n = next(asker, &keys);								\
		if (limit) {										\
			if (limited(key, &entry, asker->buffer, buffer_len))				\
				found = &entry;								\
		} else {										\
			/* An error is no entry, and is noticed as such. */				\
			(void)call(key, &entry, asker->buffer, buffer_len, &found);			\
		}											\
		asker->link = (found ? of_##type(found) : limit_empty) & nothing;			\
		return found != NULL;									\
	}

OPERATION(user_by_name, limit_user_by_name, passwd, getpwnam_r, users, users.names[n])
OPERATION(user_by_uid, limit_user_by_uid, passwd, getpwuid_r, users, users.ids[n])
OPERATION(group_by_name, limit_group_by_name, group, getgrnam_r, groups, groups.names[n])
OPERATION(group_by_gid, limit_group_by_gid, group, getgrgid_r, groups, groups.ids[n])
OPERATION(absent_user, limit_user_by_name, passwd, getpwnam_r, users, users.absent[n])
OPERATION(absent_uid, limit_user_by_uid, passwd, getpwuid_r, users, ABSENT_FROM + users.ids[n])
OPERATION(absent_group, limit_group_by_name, group, getgrnam_r, groups, groups.absent[n])
OPERATION(absent_gid, limit_group_by_gid, group, getgrgid_r, groups, ABSENT_FROM + groups.ids[n])
OPERATION(everyone, limit_group_by_name, group, getgrnam_r, groups, "everyone" + (n & (size_t)nothing))

static int gids_of(struct asker *asker, const char *name)
{
	int count = MOST_GIDS;
	if (limit)
		limit_initgroups(name, PRIMARY, asker->gids, &count);
	else
		getgrouplist(name, PRIMARY, asker->gids, &count);
	asker->link = (count > 1 ? asker->gids[count - 1] : limit_empty) & nothing;
	return count > 1;
}

static int initgroups_(struct asker *asker) { return gids_of(asker, users.names[next(asker, &users)]); }
static int absent_initgroups(struct asker *asker) { return gids_of(asker, users.absent[next(asker, &users)]); }

#define ENUMERATION(function, limited, type, set, get, end)						\
	static int function(struct asker *asker)							\
	{												\
		struct type entry, *found;								\
		uint64_t at = 0;									\
		int count = 0;										\
		if (limit) {										\
			while (limited(&at, &entry, asker->buffer, buffer_len))				\
				count++;								\
			return count;									\
		}											\
		set();											\
		while (!get(&entry, asker->buffer, buffer_len, &found))					\
			count++;									\
		end();											\
		return count;										\
	}

ENUMERATION(all_users, limit_next_user, passwd, setpwent, getpwent_r, endpwent)
ENUMERATION(all_groups, limit_next_group, group, setgrent, getgrent_r, endgrent)

static const struct { const char *name; operation *run; } operations[] = {
	{ "getpwnam_r", user_by_name }, { "getpwuid_r", user_by_uid }, { "getgrnam_r", group_by_name },
	{ "getgrgid_r", group_by_gid }, { "initgroups", initgroups_ }, { "getpwnam_r-absent", absent_user },
	{ "getpwuid_r-absent", absent_uid }, { "getgrnam_r-absent", absent_group },
	{ "getgrgid_r-absent", absent_gid }, { "initgroups-absent", absent_initgroups },
	{ "getgrnam_r-everyone", everyone }, { "getpwent_r", all_users }, { "getgrent_r", all_groups },
};

static operation *named(const char *name)
{
	for (size_t n = 0; n < sizeof operations / sizeof *operations; n++)
		if (!strcmp(operations[n].name, name))
			return operations[n].run;
	errx(2, "no operation %s", name);
}

static operation *asked;
static uint64_t times;
static pthread_barrier_t start;

static void *ask(void *argument)
{
	struct asker *asker = argument;
	/* Whoever had the processor before has left little of this one's in its caches. */
	for (uint64_t n = 0; n < times / 8; n++)
		asked(asker);
	pthread_barrier_wait(&start);
	uint64_t before = now(measured_by);
	for (uint64_t n = 0; n < times; n++)
		asker->found += asked(asker);
	asker->ns = now(measured_by) - before;
	return NULL;
}

static struct asker *askers(unsigned count)
{
	struct asker *askers = aligned_alloc(256, count * sizeof *askers);
	if (!askers)
		err(2, "no memory");
	memset(askers, 0, count * sizeof *askers);
	for (unsigned n = 0; n < count; n++) {
		askers[n].next = users.count / count * n;
		askers[n].buffer = room(buffer_len);
		askers[n].gids = room(MOST_GIDS * sizeof(uint32_t));
	}
	return askers;
}

/* "OPERATION TIMES THREADS" in; nanoseconds (mean over the threads) and entries found (of all) out. */
static void converse(void)
{
	static struct asker *all[MOST_THREADS + 1];
	char name[64];
	unsigned threads;
	while (scanf("%63s %" SCNu64 " %u", name, &times, &threads) == 3) {
		if (!threads || threads > MOST_THREADS)
			errx(2, "%u threads", threads);
		pthread_t thread[MOST_THREADS];
		uint64_t ns = 0, found = 0;
		struct asker *these = all[threads] ? all[threads] : (all[threads] = askers(threads));
		asked = named(name);
		pthread_barrier_init(&start, NULL, threads);
		for (unsigned n = 1; n < threads; n++)
			if (pthread_create(&thread[n], NULL, ask, &these[n]))
				errx(2, "no thread");
		ask(&these[0]);
		for (unsigned n = 1; n < threads; n++)
			pthread_join(thread[n], NULL);
		for (unsigned n = 0; n < threads; n++) {
			ns += these[n].ns / threads;
			found += these[n].found;
			these[n].found = 0;
		}
		printf("%" PRIu64 " %" PRIu64 "\n", ns, found);
		fflush(stdout);
	}
}

static void choose(const char *service)
{
	static const char *const databases[] = { "passwd", "group", "initgroups" };
	for (size_t n = 0; n < sizeof databases / sizeof *databases; n++)
		if (__nss_configure_lookup(databases[n], service))
			err(2, "__nss_configure_lookup %s", service);
}

static void first(const char *name)
{
	static char buffer[1024];
	struct passwd entry, *found = NULL;
	uint64_t before = now(CLOCK_MONOTONIC);
	int error = getpwnam_r(name, &entry, buffer, sizeof buffer, &found);
	uint64_t after = now(CLOCK_MONOTONIC);
	if (!found)
		errx(2, "getpwnam_r %s: %s", name, error ? strerror(error) : "not found");
	printf("%" PRIu64 "\n", after - before);
}

/* Calls of the child between two stops that it asks for. */
static uint64_t traced(operation *operation, uint64_t count)
{
	pid_t child = fork();
	if (child < 0)
		err(2, "fork");
	if (!child) {
		struct asker *asker = askers(1);
		for (int n = 0; n < 3; n++)
			operation(asker);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			err(2, "ptrace");
		raise(SIGSTOP);
		while (count--)
			operation(asker);
		raise(SIGSTOP);
		_exit(0);
	}
	uint64_t stops = 0;
	int status, signals = 0;
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
		if (WSTOPSIG(status) == SIGSTOP) {
			if (++signals == 1)
				ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
		} else if (signals == 1 && WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			stops++;
		}
		ptrace(PTRACE_SYSCALL, child, NULL, NULL);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) || signals != 2)
		errx(2, "the traced lookups failed");
	return stops / 2;
}

static void calls(const char *name)
{
	operation *operation = named(name);
	uint64_t before = now(CLOCK_MONOTONIC);
	operation(askers(1));
	uint64_t lookups = now(CLOCK_MONOTONIC) - before < 10000000 ? 20 : 2;
	uint64_t without = traced(operation, 0), with = traced(operation, lookups);
	printf("%.2f\n", (double)(with - without) / lookups);
}

static void memory(void)
{
	struct asker *asker = askers(1);
	uint64_t end = now(CLOCK_MONOTONIC) + 1000000000;
	for (int n = 0; n < 1000 && now(CLOCK_MONOTONIC) < end; n++)
		if (!user_by_name(asker) || !initgroups_(asker))
			errx(2, "not found");
	FILE *status = fopen("/proc/self/status", "re");
	char line[256];
	uint64_t own = 0, files = 0;
	while (status && fgets(line, sizeof line, status)) {
		sscanf(line, "RssAnon: %" SCNu64, &own);
		sscanf(line, "RssFile: %" SCNu64, &files);
	}
	printf("%" PRIu64 " %" PRIu64 "\n", own, files);
}

int main(int argc, char **argv)
{
	argv++, argc--;
	if (argc > 2 && !strcmp(*argv, "--bind")) {
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
			err(2, "cannot make a mount namespace: run this as root");
		for (; argc > 2 && !strcmp(*argv, "--bind"); argv += 3, argc -= 3)
			if (mount(argv[1], argv[2], NULL, MS_BIND, NULL))
				err(2, "cannot bind %s to %s", argv[1], argv[2]);
	}
	if (argc == 3 && !strcmp(*argv, "--first")) {
		choose(argv[1]);
		first(argv[2]);
		return 0;
	}
	const char *mode = argc && argv[0][0] == '-' ? (argc--, *argv++) : NULL;
	if (argc < 3)
		errx(2, "see the head of lookups.c");
	limit = !strcmp(argv[0], "limit");
	if (!strcmp(argv[0], "sss"))
		measured_by = CLOCK_MONOTONIC;
	if (!limit)
		choose(argv[0]);
	users = read_keys(argv[1], "users");
	groups = read_keys(argv[1], "groups");
	buffer_len = strtoull(argv[2], NULL, 10);
	if (limit)
		limit_open(argv[3]);
	if (!mode)
		converse();
	else if (!strcmp(mode, "--calls"))
		calls(argv[3]);
	else
		memory();
	return 0;
}
