//! Patterns, naming, circles and collisions.

use expect_test::expect;

use super::{check, check_flows, check_with, two};

#[test]
fn patterns() {
    check_with(
        "defaults: { topics: { include: [\"*\", \"orders(\", \"\"], exclude: [\"*-tmp\"] } }\n",
        expect![[r#"
            error: `*` is not a regular expression: repetition operator missing expression
             --> t.yaml:8:33
              |
            8 | defaults: { topics: { include: ["*", "orders(", ""], exclude: ["*-tmp"] } }
              |                                 ^^^
              = help: patterns are regular expressions: write ".*" where a shell would write `*`

            error: `orders(` is not a regular expression: unclosed group
             --> t.yaml:8:38
              |
            8 | defaults: { topics: { include: ["*", "orders(", ""], exclude: ["*-tmp"] } }
              |                                      ^^^^^^^^^
              = help: write a regular expression for the whole name, such as "orders.*"; `\` makes a character plain

            error: `defaults.topics.include[2]` is an empty text
             --> t.yaml:8:49
              |
            8 | defaults: { topics: { include: ["*", "orders(", ""], exclude: ["*-tmp"] } }
              |                                                 ^^
              = help: write `include: ["orders.*"]`

            error: `*-tmp` is not a regular expression: repetition operator missing expression
             --> t.yaml:8:64
              |
            8 | defaults: { topics: { include: ["*", "orders(", ""], exclude: ["*-tmp"] } }
              |                                                                ^^^^^^^
              = help: patterns are regular expressions: write ".*-tmp" where a shell would write `*-tmp`

            4 errors
        "#]],
    );
    check_with(
        "defaults: { topics: { include: [] } }\n",
        expect![[r#"
        error: `defaults.topics.include` is an empty list, which includes no topic
         --> t.yaml:8:32
          |
        8 | defaults: { topics: { include: [] } }
          |                                ^
          = help: write `include: [".*"]` for every topic, or leave the key out

        1 error
    "#]],
    );
    check_with(
        "defaults: { topics: { include: [\"orders-*\"] } }\n",
        expect![[r#"
        warning: `orders-*` matches as a regular expression, where `*` repeats the character before it
         --> t.yaml:8:33
          |
        8 | defaults: { topics: { include: ["orders-*"] } }
          |                                 ^^^^^^^^^^
          = help: write "orders-.*" if `*` stands for any characters

        0 errors, 1 warning
    "#]],
    );
}

#[test]
fn naming() {
    check_with(
        "defaults: { naming: prefix }\n",
        expect![[r#"
        error: `defaults.naming` must be a map, not a text
         --> t.yaml:8:21
          |
        8 | defaults: { naming: prefix }
          |                     ^^^^^^
          = help: write `naming: { policy: prefix }`

        1 error
    "#]],
    );
    check_with(
        "defaults: { naming: { separator: _ } }\n",
        expect![[r#"
        error: `policy` is missing in `defaults.naming`
         --> t.yaml:8:13
          |
        8 | defaults: { naming: { separator: _ } }
          |             ^^^^^^
          = help: write `policy: prefix`

        1 error
    "#]],
    );
    check_with(
        "defaults: { naming: { policy: identity, separator: _ } }\n",
        expect![[r#"
        error: `defaults.naming.separator` has no effect: the policy is `identity`
         --> t.yaml:8:41
          |
        8 | defaults: { naming: { policy: identity, separator: _ } }
          |                                         ^^^^^^^^^
          = help: write `policy: prefix`, or leave `separator` out

        1 error
    "#]],
    );
    check_with(
        "defaults: { naming: { policy: prefix, separator: / } }\n",
        expect![[r#"
        error: `defaults.naming.separator` cannot be `/`: a separator is made of `.`, `_` and `-`
         --> t.yaml:8:50
          |
        8 | defaults: { naming: { policy: prefix, separator: / } }
          |                                                  ^
          = help: write `separator: "."`, or leave it out

        1 error
    "#]],
    );
    check_with(
        "defaults: { naming: { policy: template } }\n",
        expect![[r#"
        error: `template` is missing in `defaults.naming`
         --> t.yaml:8:13
          |
        8 | defaults: { naming: { policy: template } }
          |             ^^^^^^
          = help: write `template: "{source}.{topic}"`

        1 error
    "#]],
    );
    check_with(
        "defaults: { naming: { policy: template, template: \"{sorce}.{topic}\" } }\n",
        expect![[r#"
        error: the template `{sorce}.{topic}`: it has no placeholder {sorce}: there are {source}, {target} and {topic}
         --> t.yaml:8:51
          |
        8 | defaults: { naming: { policy: template, template: "{sorce}.{topic}" } }
          |                                                   ^^^^^^^^^^^^^^^^^
          = help: did you mean `{source}`?

        1 error
    "#]],
    );
    check_with(
        "defaults: { naming: { policy: template, template: \"{source}.orders\" } }\n",
        expect![[r#"
        error: the template `{source}.orders`: it has no {topic}, so every topic would get the same name
         --> t.yaml:8:51
          |
        8 | defaults: { naming: { policy: template, template: "{source}.orders" } }
          |                                                   ^^^^^^^^^^^^^^^^^
          = help: write `template: "{source}.{topic}"`

        1 error
    "#]],
    );
}

#[test]
fn circles() {
    check(
        &format!(
            "{}defaults: {{ naming: {{ policy: identity }} }}\n",
            two("{ bootstrap_servers: a:1 }", "{ bootstrap_servers: b:1 }")
        ),
        expect![[r#"
        error: the flows `one->two`, `two->one` keep the names of topics: what they copy would come back in a circle
         --> t.yaml:6:13
          |
        6 | defaults: { naming: { policy: identity } }
          |             ^^^^^^
          = help: write `naming: { policy: prefix }` for at least one of them, or give them plain topic names that do not
                  overlap: `topics: { include: [orders] }`

        1 error
    "#]],
    );
    let identity = "naming: { policy: identity }";
    check_flows(
        &format!(
            "flows:\n- {{ name: a->b, {identity} }}\n- {{ name: b->c, naming: {{ policy: template, template: \"{{topic}}\" }} }}\n\
             - {{ name: c->a, {identity} }}\n"
        ),
        expect![[r#"
            error: the flows `a->b`, `b->c`, `c->a` keep the names of topics: what they copy would come back in a circle
              --> t.yaml:10:17
               |
            10 | - { name: c->a, naming: { policy: identity } }
               |                 ^^^^^^
               = help: write `naming: { policy: prefix }` for at least one of them, or give them plain topic names that do not
                       overlap: `topics: { include: [orders] }`

            1 error
        "#]],
    );
    let only = |topic: &str| format!("topics: {{ include: [{topic}] }}");
    check_flows(
        &format!(
            "flows:\n- {{ name: a->b, {identity}, {} }}\n- {{ name: b->a, {identity} }}\n- {{ name: b->c }}\n",
            only("orders")
        ),
        expect![[r#"
            error: the flows `a->b`, `b->a` keep the names of topics: what they copy would come back in a circle
             --> t.yaml:9:17
              |
            9 | - { name: b->a, naming: { policy: identity } }
              |                 ^^^^^^
              = help: write `naming: { policy: prefix }` for at least one of them, or give them plain topic names that do not
                      overlap: `topics: { include: [orders] }`

            1 error
        "#]],
    );
    // Names that do not overlap go in both directions without a circle, and so does one prefix.
    check_flows(
        &format!(
            "flows:\n- {{ name: a->b, {identity}, {} }}\n- {{ name: b->a, {identity}, {} }}\n- {{ name: b->c }}\n",
            only("orders"),
            only("payments")
        ),
        expect![[r#"
            0 errors
        "#]],
    );
    check_flows(
        &format!("flows: [{{ name: a->b, {identity} }}, {{ name: b->a }}, {{ name: b->c }}]\n"),
        expect![[r#"
        0 errors
    "#]],
    );
}

#[test]
fn mirror_topics_with_one_name() {
    let identity = "naming: { policy: identity }";
    check_flows(
        &format!("flows:\n- {{ name: a->c, {identity} }}\n- {{ name: b->c, {identity} }}\n"),
        expect![[r#"
        error: the flows `a->c` and `b->c` would both write the mirror topic `orders` on `c`
         --> t.yaml:9:17
          |
        9 | - { name: b->c, naming: { policy: identity } }
          |                 ^^^^^^
          = help: let the source stand in the name: `naming: { policy: prefix }`, or give them plain topic names that
                  do not overlap: `topics: { include: [orders] }`

        1 error
    "#]],
    );
    check_flows(
        "defaults: { naming: { policy: template, template: \"copy-of-{topic}\" } }\nflows: [{ name: a->c }, { name: b->c }]\n",
        expect![[r#"
            error: the flows `a->c` and `b->c` would both write the mirror topic `copy-of-orders` on `c`
             --> t.yaml:7:13
              |
            7 | defaults: { naming: { policy: template, template: "copy-of-{topic}" } }
              |             ^^^^^^
              = help: let the source stand in the name: `naming: { policy: prefix }`, or give them plain topic names that
                      do not overlap: `topics: { include: [orders] }`

            1 error
        "#]],
    );
    check_flows(
        &format!("flows:\n- {{ name: a->c }}\n- {{ name: b->c, {identity} }}\n"),
        expect![[r#"
        warning: the flows `a->c` (prefix `.`) and `b->c` (identity) can give two topics one name on `c`
         --> t.yaml:9:17
          |
        9 | - { name: b->c, naming: { policy: identity } }
          |                 ^^^^^^
          = help: give both the same `naming` with the source in it, or keep such topics apart with `topics`

        0 errors, 1 warning
    "#]],
    );
    check_flows(
        "flows: [{ name: a->c }, { name: b->c }]\n",
        expect![[r#"
        0 errors
    "#]],
    );
}
