// An LMDB environment of Caffe's Datums. It is opened without locks, since nobody may write to a data
// set that is being read: so nothing is written beside it. Its one transaction stays open, and what it
// sees stays where it is: records are found once, and then read in the mapping by any thread.
#include <lmdb.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "data/datum.h"
#include "data/kinds.h"

namespace maru::data {
namespace {

namespace fs = std::filesystem;

class Database {
 public:
  explicit Database(const std::string& path) : path_(path) {
    std::error_code unknown;
    const bool folder = fs::is_directory(path, unknown);
    file_ = folder ? (fs::path(path) / "data.mdb").string() : path;
    MDB_env* created = nullptr;
    require(::mdb_env_create(&created), "an environment");
    environment_.reset(created);
    const unsigned flags = MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS | (folder ? 0U : MDB_NOSUBDIR);
    require(::mdb_env_open(created, path.c_str(), flags, 0644), "an LMDB environment");
    require_pages();
    MDB_txn* begun = nullptr;
    require(::mdb_txn_begin(created, nullptr, MDB_RDONLY, &begun), "a transaction");
    transaction_.reset(begun);
    require(::mdb_dbi_open(begun, nullptr, 0, &table_), "a database");
  }

  template <class F>
  void each(F&& visit) const {
    MDB_stat stat{};
    require(::mdb_stat(transaction_.get(), table_, &stat), "a database");
    visit.reserve(stat.ms_entries);
    MDB_cursor* opened = nullptr;
    require(::mdb_cursor_open(transaction_.get(), table_, &opened), "a database");
    const std::unique_ptr<MDB_cursor, void (*)(MDB_cursor*)> cursor(opened, ::mdb_cursor_close);
    MDB_val key{}, value{};
    int result = ::mdb_cursor_get(opened, &key, &value, MDB_FIRST);
    for (; result == 0; result = ::mdb_cursor_get(opened, &key, &value, MDB_NEXT)) visit(key, value);
    if (result != MDB_NOTFOUND) require(result, "a database");
  }

  const std::string& path() const { return path_; }

 private:
  void require(int result, std::string_view expected) const {
    if (result == 0) return;
    const bool damaged =
        result == MDB_INVALID || result == MDB_CORRUPTED || result == MDB_VERSION_MISMATCH;
    throw Error(path_, expected, ::mdb_strerror(result),
                damaged ? "copying the environment again: it is damaged, or no LMDB"
                        : "checking the path and its permissions");
  }

  // LMDB maps what the environment once was: pages that are not in the file would be a bus error.
  void require_pages() const {
    MDB_envinfo info{};
    MDB_stat stat{};
    require(::mdb_env_info(environment_.get(), &info), "an environment");
    require(::mdb_env_stat(environment_.get(), &stat), "an environment");
    const std::uint64_t wanted =
        (static_cast<std::uint64_t>(info.me_last_pgno) + 1) * static_cast<std::uint64_t>(stat.ms_psize);
    std::error_code failed;
    const std::uint64_t there = fs::file_size(file_, failed);
    if (!failed && there >= wanted) return;
    throw Error(file_, fmt::format("{} bytes", wanted), fmt::format("{}", failed ? 0 : there),
                "copying the environment again: it is cut off");
  }

  std::string path_, file_;
  std::unique_ptr<MDB_env, void (*)(MDB_env*)> environment_{nullptr, ::mdb_env_close};
  std::unique_ptr<MDB_txn, void (*)(MDB_txn*)> transaction_{nullptr, ::mdb_txn_abort};
  MDB_dbi table_ = 0;
};

class Lmdb final : public DataSet {
 public:
  explicit Lmdb(const DataSource& source) : database_(source.path) {
    classes_ = source.classes;
    ignored_ = source.ignored;
    database_.each(Adding{*this});
    if (records_.empty()) throw Error(source.path, "a database with records", "none");
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(records_.size()); }
  std::int64_t label(std::int64_t index) const override { return datum(index).label; }
  std::string name(std::int64_t index) const override {
    constexpr std::size_t kShown = 200;
    std::string key(at(index).key.substr(0, kShown));
    std::ranges::replace_if(
        key, [](char c) { return static_cast<unsigned char>(c) < 0x20; }, '?');
    return fmt::format("{}: key {}", database_.path(), key);
  }
  StoredPhoto read(std::int64_t index, std::vector<std::byte>& /*scratch*/) const override {
    const Datum found = datum(index);
    if (found.encoded) return {found.data, 0, 0, 0, found.label};
    return {found.data, found.channels, found.height, found.width, found.label};
  }

 private:
  struct Record {
    std::string_view key;
    std::span<const std::byte> value;
  };
  struct Adding {
    Lmdb& lmdb;
    void reserve(std::size_t count) const { lmdb.records_.reserve(count); }
    void operator()(const MDB_val& key, const MDB_val& value) const {
      lmdb.records_.push_back({{static_cast<const char*>(key.mv_data), key.mv_size},
                               {static_cast<const std::byte*>(value.mv_data), value.mv_size}});
    }
  };

  const Record& at(std::int64_t index) const { return records_[static_cast<std::size_t>(index)]; }
  // The name is made for errors alone.
  Datum datum(std::int64_t index) const {
    try {
      return parse_datum(at(index).value, {});
    } catch (const Error&) {
      return parse_datum(at(index).value, name(index));
    }
  }

  Database database_;
  std::vector<Record> records_;  // in the order of their keys
};

}  // namespace

std::shared_ptr<const DataSet> open_lmdb(const DataSource& source) {
  return std::make_shared<const Lmdb>(source);
}

}  // namespace maru::data
