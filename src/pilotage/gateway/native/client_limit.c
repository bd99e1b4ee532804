/* Limits how many connections one client may have open at a time, in all TCP listeners of an Envoy together.
 *
 * Envoy loads this as a dynamic module. Its own connection limits do not tell clients apart. A client is an IPv4 address
 * or the first 64 bits of an IPv6 address, because whoever has one address of such a network usually has all of them.
 *
 * A listener filter refuses connections, because it runs before anything is read; a client that sends nothing to a TLS
 * listener never gets as far as a network filter. Envoy destroys listener filters when the connection is set up, so a
 * network filter, which lives as long as the connection, counts it from then on.
 *
 * The declarations follow Envoy's ABI (source/extensions/dynamic_modules/abi/abi.h) as of Envoy 1.40. Nothing is linked:
 * the functions of Envoy and of the C library are found in the process that loads the module.
 *
 * scripts/native builds the modules beside this file; with --check, it verifies that they match this source.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    const char *start;
    size_t length;
};

extern void *malloc(size_t);
extern void free(void *);
extern long getrandom(void *, size_t, unsigned);
extern int inet_pton(int, const char *, void *);

extern bool envoy_dynamic_module_callback_listener_filter_get_direct_remote_address(void *, struct text *, uint32_t *);
extern bool envoy_dynamic_module_callback_network_filter_get_direct_remote_address(void *, struct text *, uint32_t *);
extern void envoy_dynamic_module_callback_network_filter_close(void *, int);
extern void envoy_dynamic_module_callback_listener_filter_close_socket(void *, struct text);
extern int envoy_dynamic_module_callback_listener_filter_config_define_counter(void *, struct text, size_t *);
extern int envoy_dynamic_module_callback_listener_filter_increment_counter(void *, size_t, uint64_t);

enum { CONTINUE, STOP };
enum { CLOSE_WITHOUT_FLUSHING = 1 };
enum { INET = 2, INET6 = 10 };
enum { LONGEST_ADDRESS = 45, BUCKETS = 1 << 16, LOCKS = 64 };

/* ---- addresses ---- */

struct address {
    uint8_t bytes[16]; /* an IPv4 address is mapped: ::ffff:192.0.2.1 */
};

static bool parse(const char *text, size_t length, struct address *found) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char copy[LONGEST_ADDRESS + 1];
    size_t size = 0;
    while (size < length && size < LONGEST_ADDRESS && text[size] != '%') { /* what follows names an interface */
        copy[size] = text[size];
        size++;
    }
    copy[size] = 0;
    if (inet_pton(INET6, copy, found->bytes) == 1) {
        return true;
    }
    for (size_t i = 0; i < sizeof mapped; i++) {
        found->bytes[i] = mapped[i];
    }
    return inet_pton(INET, copy, found->bytes + sizeof mapped) == 1;
}

static uint64_t word(const uint8_t *bytes) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* Returns what identifies a client: the first 64 bits of its address, or the last 64 if the first are all zero, as they
 * are in IPv4 addresses and in ::1. */
static uint64_t key_of(const struct address *address) {
    uint64_t network = word(address->bytes);
    return network ? network : word(address->bytes + 8);
}

struct network {
    struct address address;
    unsigned bits;
};

static bool contains(const struct network *network, const struct address *address) {
    for (unsigned bit = 0; bit < network->bits; bit += 8) {
        unsigned left = network->bits - bit;
        uint8_t mask = left >= 8 ? 0xff : (uint8_t)(0xff << (8 - left));
        if ((network->address.bytes[bit / 8] ^ address->bytes[bit / 8]) & mask) {
            return false;
        }
    }
    return true;
}

/* ---- counting ---- */

struct client {
    struct client *next; /* in its bucket */
    uint64_t key;
    uint32_t connections; /* some are still counted by a listener filter, the others by a network filter */
    uint32_t entering;    /* listener filters that count a connection of this client */
    uint32_t entered;     /* of these, the ones whose connection a network filter already counts */
};

static struct client *buckets[BUCKETS];
static atomic_flag locks[LOCKS];
static _Atomic uint64_t seed; /* secret, so that nobody can choose addresses that share a bucket */
static struct client uncounted, refused;

static size_t bucket_of(uint64_t key) {
    return (size_t)((key * seed) >> 48);
}

static void lock(size_t bucket) {
    while (atomic_flag_test_and_set_explicit(&locks[bucket % LOCKS], memory_order_acquire)) {
    }
}

static void unlock(size_t bucket) {
    atomic_flag_clear_explicit(&locks[bucket % LOCKS], memory_order_release);
}

/* Returns the client with a key, and adds it if it is new; NULL if there is no memory. The bucket must be locked. */
static struct client *find(size_t bucket, uint64_t key) {
    struct client *client = buckets[bucket];
    while (client && client->key != key) {
        client = client->next;
    }
    if (!client) {
        client = malloc(sizeof *client);
        if (client) {
            *client = (struct client){.next = buckets[bucket], .key = key};
            buckets[bucket] = client;
        }
    }
    return client;
}

/* Frees a client that has no connections left. Its bucket must be locked. */
static void forget_idle(size_t bucket, struct client *client) {
    if (client->connections || client->entering) {
        return;
    }
    struct client **link = &buckets[bucket];
    while (*link != client) {
        link = &(*link)->next;
    }
    *link = client->next;
    free(client);
}

/* Counts a connection that has been accepted, unless its client already has as many as the limit. */
static struct client *enter(uint64_t key, uint32_t limit) {
    size_t bucket = bucket_of(key);
    lock(bucket);
    struct client *client = find(bucket, key);
    if (client && client->connections >= limit) {
        client = &refused; /* the limit is at least one, so this client has connections and must not be freed */
    } else if (client) {
        client->connections++;
        client->entering++;
    }
    unlock(bucket);
    return client ? client : &uncounted;
}

/* Counts a connection that has been set up. The listener filter that let it in may still count it, until Envoy destroys
 * that filter. Until then, the connection must not count twice. If the filter is destroyed first, another thread may let
 * in a connection meanwhile, so the limit applies again. */
static struct client *stay(uint64_t key, uint32_t limit) {
    size_t bucket = bucket_of(key);
    lock(bucket);
    struct client *client = find(bucket, key);
    if (client && client->entering > client->entered) {
        client->entered++;
    } else if (client && client->connections >= limit) {
        client = &refused;
    } else if (client) {
        client->connections++;
    }
    unlock(bucket);
    return client ? client : &uncounted;
}

static void leave(struct client *client, bool is_entering) {
    if (client == &uncounted || client == &refused) {
        return;
    }
    size_t bucket = bucket_of(client->key);
    lock(bucket);
    if (is_entering) {
        client->entering--;
    }
    if (is_entering && client->entered) {
        client->entered--;
    } else {
        client->connections--;
    }
    forget_idle(bucket, client);
    unlock(bucket);
}

/* ---- configuration: the limit, then the networks without a limit, as in "100 ::ffff:10.0.0.0/104 fd00::/8" ---- */

struct config {
    uint32_t limit;
    size_t refusals; /* the counter */
    size_t count;
    struct network unlimited[];
};

static uint32_t decimal(const char **at, const char *end) {
    uint64_t value = 0;
    while (*at < end && **at >= '0' && **at <= '9') {
        value = value * 10 + (uint64_t)(*(*at)++ - '0');
        value = value > UINT32_MAX ? UINT32_MAX : value;
    }
    return (uint32_t)value;
}

/* Returns NULL if the text is invalid. Envoy then rejects the listener. */
static struct config *read_config(struct text text) {
    const char *at = text.start, *end = text.start + text.length;
    size_t count = 0;
    for (const char *c = at; c < end; c++) {
        count += *c == ' ';
    }
    struct config *config = malloc(sizeof *config + count * sizeof(struct network));
    if (!config) {
        return NULL;
    }
    *config = (struct config){.limit = decimal(&at, end)};
    while (config->limit && at < end && *at == ' ') {
        const char *start = ++at;
        while (at < end && *at != '/') {
            at++;
        }
        struct network *network = &config->unlimited[config->count];
        if (at == end || !parse(start, (size_t)(at - start), &network->address)) {
            break;
        }
        at++;
        network->bits = decimal(&at, end);
        config->count += network->bits <= 128;
    }
    if (!config->limit || at != end || config->count != count) {
        free(config);
        return NULL;
    }
    uint64_t fresh = 0, none = 0;
    while (!seed && getrandom(&fresh, sizeof fresh, 0) == sizeof fresh) {
        atomic_compare_exchange_strong(&seed, &none, fresh | 1);
    }
    return config;
}

/* Returns whether connections from an address count, and the key of its client. */
static bool counts(const struct config *config, struct text text, uint64_t *key) {
    struct address address;
    if (!parse(text.start, text.length, &address)) {
        return false; /* a unix socket */
    }
    for (size_t i = 0; i < config->count; i++) {
        if (contains(&config->unlimited[i], &address)) {
            return false;
        }
    }
    *key = key_of(&address);
    return true;
}

/* ---- what Envoy calls ---- */

#define EXPORT __attribute__((visibility("default")))

EXPORT const char *envoy_dynamic_module_on_program_init(void) {
    return "v0.2.0"; /* the version of the ABI in Envoy 1.40 */
}

EXPORT void *envoy_dynamic_module_on_listener_filter_config_new(void *envoy, struct text name, struct text text) {
    static const char refusals[] = "refused";
    struct config *config = read_config(text);
    if (config) {
        struct text counter = {refusals, sizeof refusals - 1};
        envoy_dynamic_module_callback_listener_filter_config_define_counter(envoy, counter, &config->refusals);
    }
    return config;
}

EXPORT void envoy_dynamic_module_on_listener_filter_config_destroy(void *config) {
    free(config);
}

EXPORT void *envoy_dynamic_module_on_listener_filter_new(const struct config *config, void *envoy) {
    struct text text;
    uint32_t port;
    uint64_t key;
    if (!envoy_dynamic_module_callback_listener_filter_get_direct_remote_address(envoy, &text, &port) ||
        !counts(config, text, &key)) {
        return &uncounted;
    }
    struct client *client = enter(key, config->limit);
    if (client == &refused) {
        envoy_dynamic_module_callback_listener_filter_increment_counter(envoy, config->refusals, 1);
    }
    return client;
}

EXPORT int envoy_dynamic_module_on_listener_filter_on_accept(void *envoy, struct client *client) {
    static const char reason[] = "too_many_connections_of_client";
    if (client != &refused) {
        return CONTINUE;
    }
    envoy_dynamic_module_callback_listener_filter_close_socket(envoy, (struct text){reason, sizeof reason - 1});
    return STOP;
}

EXPORT int envoy_dynamic_module_on_listener_filter_on_data(void *envoy, void *filter, size_t length) {
    return CONTINUE;
}

EXPORT size_t envoy_dynamic_module_on_listener_filter_get_max_read_bytes(void *envoy, void *filter) {
    return 0;
}

EXPORT void envoy_dynamic_module_on_listener_filter_on_close(void *envoy, void *filter) {
}

EXPORT void envoy_dynamic_module_on_listener_filter_destroy(struct client *client) {
    leave(client, true);
}

EXPORT void *envoy_dynamic_module_on_network_filter_config_new(void *envoy, struct text name, struct text text) {
    return read_config(text);
}

EXPORT void envoy_dynamic_module_on_network_filter_config_destroy(void *config) {
    free(config);
}

EXPORT void *envoy_dynamic_module_on_network_filter_new(const struct config *config, void *envoy) {
    struct text text;
    uint32_t port;
    uint64_t key;
    if (!envoy_dynamic_module_callback_network_filter_get_direct_remote_address(envoy, &text, &port) ||
        !counts(config, text, &key)) {
        return &uncounted;
    }
    return stay(key, config->limit);
}

EXPORT int envoy_dynamic_module_on_network_filter_new_connection(void *envoy, struct client *client) {
    if (client != &refused) {
        return CONTINUE;
    }
    envoy_dynamic_module_callback_network_filter_close(envoy, CLOSE_WITHOUT_FLUSHING);
    return STOP;
}

EXPORT int envoy_dynamic_module_on_network_filter_read(void *envoy, void *filter, size_t length, bool ends) {
    return CONTINUE;
}

EXPORT int envoy_dynamic_module_on_network_filter_write(void *envoy, void *filter, size_t length, bool ends) {
    return CONTINUE;
}

EXPORT void envoy_dynamic_module_on_network_filter_event(void *envoy, void *filter, int event) {
}

EXPORT void envoy_dynamic_module_on_network_filter_destroy(struct client *client) {
    leave(client, false);
}

/* Envoy requires these functions, but calls them only for modules that schedule events or send HTTP requests. */
EXPORT void envoy_dynamic_module_on_listener_filter_scheduled(void) {
}

EXPORT void envoy_dynamic_module_on_listener_filter_config_scheduled(void) {
}

EXPORT void envoy_dynamic_module_on_listener_filter_http_callout_done(void) {
}

EXPORT void envoy_dynamic_module_on_network_filter_scheduled(void) {
}

EXPORT void envoy_dynamic_module_on_network_filter_config_scheduled(void) {
}

EXPORT void envoy_dynamic_module_on_network_filter_http_callout_done(void) {
}
