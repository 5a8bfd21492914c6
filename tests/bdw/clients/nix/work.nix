# work.nix - lists, attribute sets, strings and laziness in the Nix language: { n } gives one record of counts and digests.
{ n }:
let
  lib = rec {
    range = a: b: builtins.genList (i: a + i) (b - a + 1);
    sum = builtins.foldl' (a: b: a + b) 0;
    tree = depth: if depth == 0 then null else { left = tree (depth - 1); right = tree (depth - 1); };
    size = t: if t == null then 0 else 1 + size t.left + size t.right;
  };
  names = map (i: { name = "key${toString i}"; value = { inherit i; text = "text ${toString (i * i)}"; }; }) (lib.range 1 (n * 100));
  table = builtins.listToAttrs names;
in {
  trees = lib.sum (map (i: lib.size (lib.tree 12)) (lib.range 1 n));
  table = builtins.length (builtins.attrNames table);
  merged = builtins.length (builtins.attrNames (table // builtins.mapAttrs (k: v: v // { extra = k; }) table));
  digest = builtins.hashString "sha256" (builtins.concatStringsSep "," (map (k: table.${k}.text) (builtins.attrNames table)));
  sorted = builtins.hashString "sha256" (toString (builtins.sort (a: b: a < b) (map (i: lib.sum [ (i * 7919) ] - (i * 7919 / 1009) * 1009) (lib.range 1 (n * 100)))));
  json = builtins.hashString "sha256" (builtins.toJSON (builtins.fromJSON (builtins.toJSON table)));
}
