/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout, as LMDB 0.9 writes it on little-endian 64-bit machines (mdb.c: MDB_page, MDB_node,
 * MDB_db, MDB_meta):
 *
 *     page    number u64 │ pad u16 │ flags u16 │ lower u16 │ upper u16 │ offsets u16 …
 *             (of a large value: lower and upper together are the number of pages)
 *     node    low u16 │ high u16 │ flags u16 │ key size u16 │ key │ data
 *             low, high: size of the data; in a branch low, high, flags: the child's page
 *     tree    pad u32 │ flags u16 │ depth u16 │ branch, leaf, large pages, entries, root: u64 each
 *     meta    magic u32 │ version u32 │ address u64 │ map size u64 │ free tree │ main tree │
 *             last page u64 │ transaction u64
 */
#include "flow/disk/pages.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE_HEADER = 16,
    NODE_HEADER = 8,
    TREE_BYTES = 48,
    META_MAGIC = 0xBEEFC0DE,
    META_VERSION = 1,
    META_FREE_TREE = 24,
    META_MAIN_TREE = META_FREE_TREE + TREE_BYTES,
    META_LAST_PAGE = META_MAIN_TREE + TREE_BYTES,
    META_TRANSACTION = META_LAST_PAGE + 8,
    META_BYTES = META_TRANSACTION + 8,
    METAS = 2,
    PAGE_SIZE_LEAST = 512,
    PAGE_SIZE_MOST = 32768,
    DEPTH_MAX = 16,             /* of one tree: 2^16 pages at the very least */
    LEVELS_MAX = 2 * DEPTH_MAX, /* a named tree hangs below a leaf of the main one */
    INTEGER_KEYS = 0x08,
};

enum page_flag { IS_BRANCH = 1, IS_LEAF = 2, IS_LARGE = 4, IS_META = 8 };
enum node_flag { HAS_LARGE = 1, HAS_TREE = 2 };
enum tree_kind { FREE_TREE, MAIN_TREE, NAMED_TREE };

#define NO_PAGE UINT64_MAX

struct tree {
    enum tree_kind kind;
    uint32_t flags, depth;
    uint64_t branch, leaf, large, entries; /* as the tree says; counted down while it is walked */
    uint64_t root;
    unsigned first_level;
};

struct key {
    const uint8_t *data;
    size_t size;
};

struct walk {
    int fd;
    struct ut_pages_report *report;
    uint32_t page_size;
    uint64_t page_count;    /* as the meta page says */
    uint64_t pages_in_file; /* whole ones */
    uint64_t transaction;
    uint8_t *claimed; /* a bit a page */
    uint8_t *buffers; /* LEVELS_MAX pages */
    uint8_t *list;    /* a free list that takes large pages */
    size_t list_room;
};

static uint16_t get16(const uint8_t *in)
{
    uint16_t number;
    memcpy(&number, in, sizeof(number));
    return le16toh(number);
}

static uint32_t get32(const uint8_t *in)
{
    uint32_t number;
    memcpy(&number, in, sizeof(number));
    return le32toh(number);
}

static uint64_t get64(const uint8_t *in)
{
    uint64_t number;
    memcpy(&number, in, sizeof(number));
    return le64toh(number);
}

static int damaged(struct walk *walk, uint64_t page, const char *error)
{
    walk->report->page = page;
    walk->report->error = error;
    return -EBADMSG;
}

/* `size` bytes at `offset`; -EBADMSG where the file ends before. */
static int read_bytes(struct walk *walk, uint8_t *out, size_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t got = pread(walk->fd, out, size, (off_t)offset);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            return damaged(walk, walk->page_size > 0 ? offset / walk->page_size : 0,
                           "the file ends before this page");
        if (got > 0) {
            out += got;
            offset += (uint64_t)got;
            size -= (size_t)got;
        }
    }
    return 0;
}

/* Pages first … first + count - 1 belong to nothing else. */
static int claim(struct walk *walk, uint64_t first, uint64_t count, bool in_use)
{
    if (first < METAS || first >= walk->page_count || count > walk->page_count - first)
        return damaged(walk, first, "a page number beyond the last page");
    if (in_use && first + count > walk->pages_in_file)
        return damaged(walk, first, "the file ends before this page");
    for (uint64_t page = first; page < first + count; page++) {
        uint8_t bit = (uint8_t)(1u << (page & 7));
        if (walk->claimed[page >> 3] & bit)
            return damaged(walk, page, "a page with two owners");
        walk->claimed[page >> 3] |= bit;
    }
    return 0;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static int compare(const struct tree *tree, struct key a, struct key b)
{
    if (tree->flags & INTEGER_KEYS) {
        uint64_t x = get64(a.data), y = get64(b.data);
        return x < y ? -1 : x > y;
    }
    size_t size = a.size < b.size ? a.size : b.size;
    int order = memcmp(a.data, b.data, size);
    return order != 0 ? order : a.size < b.size ? -1 : a.size > b.size;
}

static int walk_tree(struct walk *walk, struct tree *tree);

static void read_tree(struct tree *out, const uint8_t *bytes)
{
    out->flags = get16(bytes + 4);
    out->depth = get16(bytes + 6);
    out->branch = get64(bytes + 8);
    out->leaf = get64(bytes + 16);
    out->large = get64(bytes + 24);
    out->entries = get64(bytes + 32);
    out->root = get64(bytes + 40);
}

/* The pages of a value that has pages of its own. */
static int claim_large(struct walk *walk, struct tree *tree, uint64_t first, uint32_t size)
{
    uint64_t count = ((uint64_t)PAGE_HEADER - 1 + size) / walk->page_size + 1;
    uint8_t header[PAGE_HEADER];
    int error = claim(walk, first, count, true);
    if (error == 0)
        error = read_bytes(walk, header, sizeof(header), first * walk->page_size);
    if (error != 0)
        return error;
    if (get64(header) != first || get16(header + 10) != IS_LARGE || get32(header + 12) != count)
        return damaged(walk, first, "not the large value that it should be");
    if (tree->large < count)
        return damaged(walk, first, "more large pages than its tree has");
    tree->large -= count;
    return 0;
}

/* A list of free pages: its length, then page numbers from high to low. */
static int claim_free(struct walk *walk, uint64_t page, const uint8_t *list, size_t size)
{
    uint64_t length = size >= 8 ? get64(list) : UINT64_MAX, previous = UINT64_MAX;
    if (length > size / 8 - 1)
        return damaged(walk, page, "a list of free pages longer than its place");
    for (uint64_t i = 1; i <= length; i++) {
        uint64_t number = get64(list + 8 * i);
        if (number >= previous)
            return damaged(walk, page, "a list of free pages out of order");
        int error = claim(walk, number, 1, false);
        if (error != 0)
            return error;
        previous = number;
    }
    walk->report->free += length;
    return 0;
}

static int claim_large_free(struct walk *walk, uint64_t first, uint32_t size)
{
    if (size > walk->list_room) {
        uint8_t *list = realloc(walk->list, size);
        if (list == NULL)
            return -ENOMEM;
        walk->list = list;
        walk->list_room = size;
    }
    int error = read_bytes(walk, walk->list, size, first * walk->page_size + PAGE_HEADER);
    return error != 0 ? error : claim_free(walk, first, walk->list, size);
}

static int walk_named(struct walk *walk, struct tree *tree, uint64_t page, const uint8_t *data,
                      unsigned level)
{
    struct tree named = {.kind = NAMED_TREE, .first_level = level + 1};
    if (tree->kind != MAIN_TREE)
        return damaged(walk, page, "a tree below a named tree");
    read_tree(&named, data);
    return walk_tree(walk, &named);
}

static int walk_leaf_node(struct walk *walk, struct tree *tree, uint64_t page, const uint8_t *node,
                          unsigned level)
{
    uint32_t size = get16(node) | (uint32_t)get16(node + 2) << 16;
    uint16_t flags = get16(node + 4);
    const uint8_t *data = node + NODE_HEADER + get16(node + 6);
    if (tree->kind == FREE_TREE && get64(node + NODE_HEADER) > walk->transaction)
        return damaged(walk, page, "free pages of a transaction that is to come");
    if (flags == HAS_LARGE) {
        uint64_t first = get64(data);
        int error = claim_large(walk, tree, first, size);
        return error != 0 || tree->kind != FREE_TREE ? error : claim_large_free(walk, first, size);
    }
    if (flags == HAS_TREE && size == TREE_BYTES)
        return walk_named(walk, tree, page, data, level);
    if (flags != 0)
        return damaged(walk, page, "a node of an unknown kind");
    return tree->kind == FREE_TREE ? claim_free(walk, page, data, size) : 0;
}

/* Bytes that a node takes, its two bytes of offset not included. 0: not within the page. */
static size_t node_size(const struct walk *walk, const uint8_t *page, uint16_t offset, bool leaf)
{
    size_t room = walk->page_size - offset;
    if (offset & 1 || offset < get16(page + 14) || room < NODE_HEADER)
        return 0;
    const uint8_t *node = page + offset;
    size_t size = NODE_HEADER + (size_t)get16(node + 6);
    if (leaf && get16(node + 4) == HAS_LARGE)
        size += 8;
    else if (leaf)
        size += get16(node) | (size_t)get16(node + 2) << 16;
    size = (size + 1) & ~(size_t)1;
    return size <= room ? size : 0;
}

static uint16_t offset_of(const uint8_t *page, uint32_t index)
{
    return get16(page + PAGE_HEADER + 2 * (size_t)index);
}

static struct key key_of(const uint8_t *page, uint32_t index)
{
    const uint8_t *node = page + offset_of(page, index);
    return (struct key){node + NODE_HEADER, get16(node + 6)};
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* Header, places and order of the nodes. The first key of a branch says nothing. `low` and `high`
 * (exclusive) are what the branches above promise; without data: no bound. */
static int check_page(struct walk *walk, const struct tree *tree, uint64_t number,
                      const uint8_t *page, bool leaf)
{
    uint32_t lower = get16(page + 12), upper = get16(page + 14);
    if (get64(page) != number || get16(page + 10) != (leaf ? IS_LEAF : IS_BRANCH))
        return damaged(walk, number, "not the page that it should be");
    if (lower <= PAGE_HEADER || lower & 1 || lower > upper || upper > walk->page_size)
        return damaged(walk, number, "a page with wrong bounds");
    uint32_t count = (lower - PAGE_HEADER) / 2;
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t size = node_size(walk, page, offset_of(page, i), leaf);
        if (size == 0)
            return damaged(walk, number, "a node outside of its page");
        used += size;
        struct key key = key_of(page, i);
        bool says_nothing = !leaf && i == 0;
        if (says_nothing)
            continue;
        if (tree->flags & INTEGER_KEYS ? key.size != 8 : key.size == 0)
            return damaged(walk, number, "a key of a wrong size");
        if (i > (leaf ? 0 : 1) && compare(tree, key_of(page, i - 1), key) >= 0)
            return damaged(walk, number, "keys out of order");
    }
    return used == walk->page_size - upper ? 0 : damaged(walk, number, "nodes that overlap");
}

static int check_bounds(struct walk *walk, const struct tree *tree, uint64_t number,
                        const uint8_t *page, const struct key bounds[2])
{
    bool leaf = get16(page + 10) == IS_LEAF;
    uint32_t count = (get16(page + 12) - PAGE_HEADER) / 2, first = leaf ? 0 : 1;
    if (first >= count)
        return 0;
    if ((bounds[0].data != NULL && compare(tree, key_of(page, first), bounds[0]) < 0) ||
        (bounds[1].data != NULL && compare(tree, key_of(page, count - 1), bounds[1]) >= 0))
        return damaged(walk, number, "keys of another page");
    return 0;
}

static int walk_page(struct walk *walk, struct tree *tree, uint64_t number, unsigned depth,
                     const struct key bounds[2]);

static int walk_branch(struct walk *walk, struct tree *tree, const uint8_t *page, unsigned depth,
                       const struct key bounds[2])
{
    uint32_t count = (get16(page + 12) - PAGE_HEADER) / 2;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *node = page + offset_of(page, i);
        uint64_t child =
            get16(node) | (uint64_t)get16(node + 2) << 16 | (uint64_t)get16(node + 4) << 32;
        struct key inner[2] = {
            i > 0 ? key_of(page, i) : bounds[0],
            i + 1 < count ? key_of(page, i + 1) : bounds[1],
        };
        int error = walk_page(walk, tree, child, depth + 1, inner);
        if (error != 0)
            return error;
    }
    return 0;
}

static int walk_leaf(struct walk *walk, struct tree *tree, uint64_t number, const uint8_t *page,
                     unsigned level)
{
    uint32_t count = (get16(page + 12) - PAGE_HEADER) / 2;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *node = page + offset_of(page, i);
        int error = walk_leaf_node(walk, tree, number, node, level);
        if (error != 0)
            return error;
    }
    if (tree->entries < count)
        return damaged(walk, number, "more entries than its tree has");
    tree->entries -= count;
    return 0;
}

/* Recursion ends at DEPTH_MAX, and below a leaf once more. */
static int walk_page(struct walk *walk, struct tree *tree, uint64_t number, unsigned depth,
                     const struct key bounds[2])
{
    bool leaf = depth + 1 == tree->depth;
    unsigned level = tree->first_level + depth;
    uint8_t *page = walk->buffers + (size_t)level * walk->page_size;
    uint64_t *left = leaf ? &tree->leaf : &tree->branch;
    int error = claim(walk, number, 1, true);
    if (error == 0)
        error = read_bytes(walk, page, walk->page_size, number * walk->page_size);
    if (error == 0)
        error = check_page(walk, tree, number, page, leaf);
    if (error == 0)
        error = check_bounds(walk, tree, number, page, bounds);
    if (error != 0)
        return error;
    if ((*left)-- == 0)
        return damaged(walk, number, "more pages than its tree has");
    return leaf ? walk_leaf(walk, tree, number, page, level)
                : walk_branch(walk, tree, page, depth, bounds);
}

static int walk_tree(struct walk *walk, struct tree *tree)
{
    static const struct key unbounded[2];
    uint32_t wanted = tree->kind == FREE_TREE ? INTEGER_KEYS : 0;
    /* The free tree's flags hold the environment's as well; of a named tree either is right. */
    uint32_t seen = tree->flags & (tree->kind == FREE_TREE ? 0x7fu : 0xffffu);
    if (seen != wanted && !(tree->kind == NAMED_TREE && seen == INTEGER_KEYS))
        return damaged(walk, tree->root, "a tree of an unknown kind");
    if (tree->depth > DEPTH_MAX || (tree->depth == 0) != (tree->root == NO_PAGE))
        return damaged(walk, tree->root, "a tree with a wrong depth");
    if (tree->depth > 0) {
        int error = walk_page(walk, tree, tree->root, 0, unbounded);
        if (error != 0)
            return error;
    }
    if (tree->branch != 0 || tree->leaf != 0 || tree->large != 0 || tree->entries != 0)
        return damaged(walk, tree->root, "a tree with fewer pages than it says");
    return 0;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* Picks the newer meta page, as LMDB does, into `out`. */
static int read_metas(struct walk *walk, uint8_t out[META_BYTES])
{
    uint64_t newest = 0, transactions[METAS];
    for (unsigned i = 0; i < METAS; i++) {
        uint8_t page[PAGE_HEADER + META_BYTES];
        const uint8_t *meta = page + PAGE_HEADER;
        int error = read_bytes(walk, page, sizeof(page), (uint64_t)i * walk->page_size);
        if (error != 0)
            return error;
        if (get64(page) != i || get16(page + 10) != IS_META || get32(meta) != META_MAGIC ||
            get32(meta + 4) != META_VERSION)
            return damaged(walk, i, "not a meta page");
        uint32_t page_size = get32(meta + META_FREE_TREE);
        if (page_size < PAGE_SIZE_LEAST || page_size > PAGE_SIZE_MOST ||
            (page_size & (page_size - 1)) != 0 || (i > 0 && page_size != walk->page_size))
            return damaged(walk, i, "a wrong page size");
        walk->page_size = page_size;
        transactions[i] = get64(meta + META_TRANSACTION);
        if (i == 0 || transactions[i] > newest) {
            newest = transactions[i];
            memcpy(out, meta, META_BYTES);
        }
    }
    uint64_t older = transactions[0] + transactions[1] - newest;
    bool fresh = newest == 0;
    walk->report->commit_uncertain =
        !fresh && (newest - older != 1 || transactions[newest & 1] != newest);
    walk->transaction = newest;
    return 0;
}

static int prepare(struct walk *walk, const uint8_t meta[META_BYTES])
{
    struct stat info;
    if (fstat(walk->fd, &info) != 0)
        return -errno;
    uint64_t last = get64(meta + META_LAST_PAGE);
    walk->pages_in_file = (uint64_t)info.st_size / walk->page_size;
    /* A file has few pages that were never written, so this bounds the memory below. */
    if (last < METAS - 1 || last / 2 > walk->pages_in_file)
        return damaged(walk, last, "the file ends long before its last page");
    walk->page_count = last + 1;
    walk->claimed = calloc(1, walk->page_count / 8 + 1);
    walk->buffers = malloc((size_t)LEVELS_MAX * walk->page_size);
    return walk->claimed != NULL && walk->buffers != NULL ? 0 : -ENOMEM;
}

static int check_all_claimed(struct walk *walk)
{
    for (uint64_t page = METAS; page < walk->page_count; page++) {
        if (!(walk->claimed[page >> 3] & 1u << (page & 7)))
            return damaged(walk, page, "a page without an owner");
    }
    return 0;
}

int ut_pages_check(int fd, struct ut_pages_report *report)
{
    *report = (struct ut_pages_report){.error = ""};
    struct walk walk = {.fd = fd, .report = report};
    uint8_t meta[META_BYTES] = {0};
    int error = read_metas(&walk, meta);
    if (error == 0)
        error = prepare(&walk, meta);
    struct tree free_tree = {.kind = FREE_TREE}, main_tree = {.kind = MAIN_TREE};
    if (error == 0) {
        read_tree(&free_tree, meta + META_FREE_TREE);
        error = walk_tree(&walk, &free_tree);
    }
    if (error == 0) {
        read_tree(&main_tree, meta + META_MAIN_TREE);
        error = walk_tree(&walk, &main_tree);
    }
    if (error == 0)
        error = check_all_claimed(&walk);
    report->pages = walk.page_count;
    report->page_size = walk.page_size;
    free(walk.claimed);
    free(walk.buffers);
    free(walk.list);
    return error;
}
